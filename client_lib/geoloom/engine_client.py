"""HTTP to the engine: the one given by ``GEOLOOM_ENGINE_URL``, else the user's embedded one.

A client is shared by all threads of a kernel. It keeps connections open, takes a new one when the
engine closed an idle one, and finds the embedded engine again when that has been restarted.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.engine_connection import TIMEOUT, EngineConnection, Locate
from geoloom.errors import EngineFault, EngineOverloaded, EngineUnreachable, NotFound, RequestError
from geoloom.given import Given
from geoloom.local import Endpoint

__all__ = ["Engine", "EngineClient", "Registered", "connect", "engine"]

HEALTH_TIMEOUT = 3.0

PATIENCE = 60.0
"""Seconds for which a question that a busy engine refused is asked again."""

RETRY_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Registered:
    """A chain the engine knows.

    Parameters
    ----------
    key
        The chain's key.
    data
        Version of the data it reads.
    tiles
        Path of its tiles, ``/tiles/KEY/{z}/{x}/{y}.png?…``, with the right to read them.
    expires
        When that right ends, in seconds since 1970.
    """

    key: str
    data: str
    tiles: str = field(repr=False)
    expires: float


class EngineClient:
    """Speaks to one engine; thread-safe. All methods raise what the engine raised.

    Parameters
    ----------
    base_url
        Where the engine is, as this process reaches it.
    token
        Its session secret.
    session
        The name under which the engine tells errors; by default one of this client's own.
    locate
        Finds an engine that may move, instead of `base_url` and `token`.

    Raises
    ------
    EngineUnreachable
        By every method, when no engine answers.
    """

    def __init__(
        self,
        base_url: str = "",
        token: str = "",
        session: str | None = None,
        *,
        locate: Locate | None = None,
    ) -> None:
        if locate is None:
            fixed = Endpoint(_checked(base_url), token, 0, "")
        self.session = session or secrets.token_hex(12)
        self._sent: set[tuple[str, str, bool]] = set()
        self._connection = EngineConnection(
            locate or (lambda verify: fixed), locate is not None, self.session
        )

    def __repr__(self) -> str:
        return f"EngineClient(session={self.session!r})"

    @property
    def endpoint(self) -> Endpoint:
        """Where the engine is now."""
        return self._connection.locate(False)

    @property
    def embedded(self) -> bool:
        """Whether the engine is looked for anew when it does not answer, as the embedded one is."""
        return self._connection.moves

    def register(self, chain: Chain) -> Registered:
        """Make a chain known; gives a fresh right to read its tiles.

        Raises
        ------
        ChainError, SourceError
            What is wrong with the chain or its sources.
        """
        texts = {key: content for key in blobs.needed(chain) if (content := blobs.known(key)) is not None}
        for attempt in (0, 1):
            self._send(texts)
            try:
                answer = self._json("POST", "/chains", chain.to_json())
                return Registered(answer["key"], answer["data"], answer["tiles"], answer["expires"])
            except NotFound:
                # The engine's store let go of a blob: it is sent once more.
                if attempt or not texts:
                    raise
                self._sent.clear()
        raise AssertionError("unreachable")

    def chain(self, key: str) -> Chain:
        """The chain stored under a key; raises NotFound, CorruptChain."""
        return Chain.from_json(self._connection.request("GET", f"/chains/{_part(key)}"), key)

    def save(self, key: str, saved: bool = True) -> None:
        """Keep a registered chain for good, or no more."""
        self._json("PUT" if saved else "DELETE", f"/chains/{_part(key)}/saved", b"" if saved else None)

    def put_blob(self, content: bytes, foreign: bool = False) -> str:
        """Store bytes; their key. What is `foreign` was not made in this session."""
        answer = self._json("POST", "/blobs?foreign=1" if foreign else "/blobs", content)
        if "notice" in answer:
            warnings.warn(str(answer["notice"]), stacklevel=2)
        return str(answer["key"])

    def blob(self, key: str) -> bytes:
        """The bytes stored under a key; raises NotFound."""
        return self._connection.request("GET", f"/blobs/{_part(key)}")

    def window(self, key: str, node: str, z: int, x: int, y: int, ratio: int = 1) -> Given:
        """What the engine gives the user's function at a node for a tile; of any other node, what that gives.

        Parameters
        ----------
        key, node
            Of a registered chain, and of one of its nodes.
        """
        question = json.dumps({"key": key, "node": node, "z": z, "x": x, "y": y, "ratio": ratio}).encode()
        return Given.unpack(self._connection.request("POST", "/window", question))

    def info(self, href: str) -> dict[str, Any]:
        """What a file holds; raises SourceError."""
        return self.ask("/info", href=href)

    def describe(self, chain: Chain) -> dict[str, Any]:
        """Bands, dtype, unit, look, bounds in degrees, zooms and sources of a chain."""
        return self.ask("/info", chain=json.loads(chain.to_json()))

    def point(self, key: str, lon: float, lat: float, zoom: int | None = None) -> dict[str, Any]:
        """Values at a point in degrees, at a map zoom or of the finest source's own pixel."""
        return self.ask("/point", key=key, lon=lon, lat=lat, zoom=zoom)

    def statistics(self, key: str, bbox: tuple[float, float, float, float] | None = None) -> dict[str, Any]:
        """Statistics of each band over (west, south, east, north), or over all of the image."""
        return self.ask("/statistics", key=key, bbox=None if bbox is None else list(bbox))

    def explain(
        self, key: str, zoom: int | None = None, tile: tuple[int, int, int] | None = None
    ) -> dict[str, Any]:
        """The plan of a tile (z, x, y), or of the one in the image's middle at a zoom."""
        if tile is not None:
            return self.ask("/explain", key=key, z=tile[0], x=tile[1], y=tile[2])
        return self.ask("/explain", key=key, zoom=zoom)

    def legend(self, key: str) -> dict[str, Any]:
        """What a chain's colours mean."""
        return self._json("GET", f"/legend/{_part(key)}")

    def tile(self, chain: Chain, z: int, x: int, y: int, pixel_ratio: int = 1) -> bytes:
        """A tile as PNG; raises what a map would show as a picture."""
        self.register(chain)
        ratio = "" if pixel_ratio == 1 else f"@{pixel_ratio}x"
        return self._connection.request("GET", f"/tiles/{chain.root}/{z}/{x}/{y}{ratio}.png")

    def events(self, after: str | None = None, timeout: float = 25.0) -> dict[str, Any]:
        """What happened to this session's tiles since an event, as soon as something does.

        Parameters
        ----------
        after
            ``last`` of the answer before; None for all that is kept.
        timeout
            Seconds after which the engine answers that nothing happened.
        """

        def path(seconds: float) -> str:
            return "/events?" + urlencode(
                {"timeout": f"{seconds:g}"} | ({} if after is None else {"after": after})
            )

        # Maps stay grey until they hear that the engine was restarted: it is not waited upon.
        return self._json("GET", path(timeout), timeout=timeout + 15, if_moved=path(0), patient=False)

    def health(self) -> dict[str, Any]:
        """Nonce, version, pid and uptime of the engine."""
        return self._json("GET", "/healthz", timeout=HEALTH_TIMEOUT, patient=False)

    def withdraw(self) -> None:
        """Void every layer URL this session was given.

        For the end of a kernel: asks only an engine that was spoken to, starts none and waits briefly.
        """
        self._connection.farewell("DELETE", f"/sessions/{_part(self.session)}", HEALTH_TIMEOUT)

    def close(self) -> None:
        """Close the idle connections; the next request opens new ones."""
        self._connection.close()

    def _send(self, texts: Mapping[str, bytes]) -> None:
        """Have the engine store blobs that it was not sent yet."""
        for key, content in texts.items():
            foreign = blobs.kept(key) is None
            known = (self.endpoint.nonce, key, foreign)
            if known not in self._sent:
                self.put_blob(content, foreign)
                self._sent.add(known)

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        """What the engine answers to a question, such as ``ask("/point", key=…, lon=…, lat=…)``."""
        try:
            body = json.dumps(question, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise RequestError(f"{path[1:]} cannot be asked with these values: {error}.") from None
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._json("POST", path, body)
            except EngineOverloaded:
                # A freshly installed engine still compiles; a cell that is run need not fail for that.
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_PAUSE)

    def _json(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        timeout: float = TIMEOUT,
        if_moved: str | None = None,
        patient: bool = True,
    ) -> dict[str, Any]:
        content = self._connection.request(method, path, body, timeout, if_moved, patient)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise EngineUnreachable(
                f"What answers at {self.endpoint.url} is not a Geoloom engine.",
                hint="Check GEOLOOM_ENGINE_URL.",
            )
        return answer


@dataclass(frozen=True, slots=True)
class Engine:
    """Which engine is used, and how it was when asked.

    Parameters
    ----------
    url
        Where it is, as this process reaches it.
    embedded
        Whether it is the user's own, started by a kernel.
    problem
        Why it cannot be used, or None.
    version, pid, uptime, answer_ms
        What it says of itself, and how long it took to say it.
    """

    url: str
    embedded: bool
    problem: str | None = None
    version: str | None = None
    pid: int | None = None
    uptime: float | None = None
    answer_ms: float | None = None

    @property
    def healthy(self) -> bool:
        """Whether it answered."""
        return self.problem is None

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in self._rows().items()
        )
        return f"<table><caption>Tile engine</caption>{rows}</table>"

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self._rows().items())

    def _rows(self) -> Mapping[str, str]:
        rows = {
            "engine": "embedded (started by this machine's kernels)" if self.embedded else "given",
            "address": self.url,
            "health": "answers" if self.problem is None else self.problem,
        }
        if self.problem is None:
            rows |= {
                "version": f"Geoloom {self.version}",
                "process": f"{self.pid}, for {self.uptime or 0:.0f} s",
                "answer": f"in {self.answer_ms:.1f} ms",
            }
        return rows


_default: EngineClient | None = None
_default_for: tuple[str, str] | None = None
_making = threading.Lock()


def connect() -> EngineClient:
    """The client of this process: of ``GEOLOOM_ENGINE_URL``, else of the embedded engine.

    The embedded engine is found or started at the first request.
    """
    global _default, _default_for
    wanted = os.environ.get("GEOLOOM_ENGINE_URL", "").strip(), _token()
    with _making:
        if _default is None or _default_for != wanted:
            url, token = wanted
            _default = EngineClient(url, token) if url else EngineClient(locate=_embedded)
            _default_for = wanted
        return _default


def _token() -> str:
    """The token for a given engine: ``GEOLOOM_TOKEN``, or what the variable named by ``…_FROM`` holds."""
    name = os.environ.get("GEOLOOM_TOKEN_FROM", "").strip()
    return os.environ.get("GEOLOOM_TOKEN", "").strip() or os.environ.get(name, "").strip()


def engine() -> Engine:
    """Which engine is used, where, and its health; starts the embedded one if none is given."""
    client = connect()
    embedded = client.embedded
    url = os.environ.get("GEOLOOM_ENGINE_URL", "")
    try:
        url = client.endpoint.url
        begun = time.perf_counter()
        health = client.health()
    except (EngineUnreachable, EngineFault) as error:
        return Engine(url or "(none)", embedded, str(error))
    return Engine(
        url,
        embedded,
        version=str(health.get("version")),
        pid=health.get("pid"),
        uptime=health.get("uptime"),
        answer_ms=round((time.perf_counter() - begun) * 1000, 1),
    )


def _embedded(verify: bool) -> Endpoint:
    from geoloom import local

    return local.ensure(verify=verify)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise RequestError(
            f"{url!r} is not the address of an engine.",
            hint="Set GEOLOOM_ENGINE_URL to something like http://127.0.0.1:8080.",
        )
    return url.rstrip("/")


def _part(text: str) -> str:
    return quote(str(text), safe="")
