"""Where ``s3://bucket/key`` lies, and the signature with which it is asked for.

Credentials come from the engine's environment alone, and go nowhere but into the headers of requests to
the store itself. Signature: AWS Signature Version 4 for S3,
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_NO_BODY = hashlib.sha256(b"").hexdigest()
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Store:
    """An S3-compatible store, and who asks.

    Parameters
    ----------
    endpoint
        ``http(s)://host[:port]``; None for Amazon's own, by region.
    region
        Part of the signature; most other stores take any.
    access_key, secret_key, token
        Credentials; with an empty `access_key` requests are not signed.
    in_host
        Whether the bucket is part of the host's name, else of the path.
    payer
        Value of ``x-amz-request-payer``, or empty.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    in_host: bool = True
    payer: str = ""

    @staticmethod
    def of(environment: Mapping[str, str]) -> Store:
        """The store that the usual variables describe; see docs/data.md.

        Raises
        ------
        ValueError
            If a variable makes no sense; one sentence.
        """

        def first(*names: str) -> str:
            return next((environment[name] for name in names if environment.get(name)), "")

        endpoint = first("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL").rstrip("/")
        if endpoint and "://" not in endpoint:
            plain = first("AWS_HTTPS").lower() in ("no", "false", "0", "off")
            endpoint = f"{'http' if plain else 'https'}://{endpoint}"
        if endpoint and not _is_endpoint(endpoint):
            raise ValueError("AWS_S3_ENDPOINT is neither host[:port] nor an http(s):// address")
        unsigned = first("AWS_NO_SIGN_REQUEST").lower() in _TRUE
        access_key = "" if unsigned else first("AWS_ACCESS_KEY_ID")
        secret_key = "" if unsigned else first("AWS_SECRET_ACCESS_KEY")
        if bool(access_key) != bool(secret_key):
            raise ValueError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together, and one is missing")
        return Store(
            endpoint=endpoint or None,
            region=first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
            access_key=access_key,
            secret_key=secret_key,
            token="" if unsigned else first("AWS_SESSION_TOKEN"),
            in_host=(first("AWS_VIRTUAL_HOSTING") or ("no" if endpoint else "yes")).lower() in _TRUE,
            payer=first("AWS_REQUEST_PAYER"),
        )

    @property
    def signed(self) -> bool:
        """Whether requests carry a signature."""
        return bool(self.access_key)

    def request(
        self, href: str, region: str | None = None, query: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, str]]:
        """URL and headers with which an object is asked for now.

        Parameters
        ----------
        href
            ``s3://bucket/key``.
        region
            Of the bucket, where it is another than the usual one.
        query
            Names and values behind the address, as of a listing.
        """
        bucket, _, key = href[5:].partition("/")
        region = region or self.region
        base = urllib.parse.urlsplit(self.endpoint or f"https://s3.{region}.amazonaws.com")
        path = "/" + urllib.parse.quote(key, safe="/~-._")
        host = base.netloc
        # A certificate for *.s3… covers no name with more dots.
        if self.in_host and "." not in bucket:
            host = f"{bucket}.{host}"
        else:
            path = f"/{bucket}{path}"
        path = base.path + path
        asked = urllib.parse.urlencode(
            sorted((query or {}).items()), quote_via=urllib.parse.quote, safe="~-._"
        )
        headers = {"x-amz-request-payer": self.payer} if self.payer else {}
        if self.signed:
            headers |= self._signature(_canonical(base.scheme, host), path, asked, region, headers)
        return f"{base.scheme}://{host}{path}" + (f"?{asked}" if asked else ""), headers

    def _signature(
        self, host: str, path: str, query: str, region: str, headers: Mapping[str, str]
    ) -> dict[str, str]:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        own = {"x-amz-content-sha256": _NO_BODY, "x-amz-date": now}
        if self.token:
            own["x-amz-security-token"] = self.token
        covered = sorted({**headers, **own, "host": host}.items())
        names = ";".join(name for name, _ in covered)
        lines = "".join(f"{name}:{value.strip()}\n" for name, value in covered)
        scope = f"{now[:8]}/{region}/s3/aws4_request"
        request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_NO_BODY}"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in (now[:8], region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"{self.access_key}/{scope}"
        own["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        )
        return own


def _is_endpoint(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        # Asked for its port, it says whether that is one.
        named = parts.hostname is not None and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and "@" not in parts.netloc


def _canonical(scheme: str, host: str) -> str:
    """The host as `http.client` sends it: without the scheme's usual port."""
    return host.lower().removesuffix(":443" if scheme == "https" else ":80")
