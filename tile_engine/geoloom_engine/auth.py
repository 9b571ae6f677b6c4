"""Capabilities: what a layer's URL allows whoever has it.

A capability is a short token, base64url of ::

    key id (2 bytes) | expiry (4, seconds) | rights (1) | start of the chain key (4) | session | MAC (16)

The MAC is HMAC-SHA256, truncated to 128 bits, over all the rest and the whole chain key. So a
browser can open one chain's tiles, legend and TileJSON, until the expiry, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from geoloom.errors import CapabilityError
from geoloom_engine.sessions import INTERNAL, LONGEST

READ_TILES = 1
"""Right to read tiles, legend and TileJSON of the chain."""

MOST_VERIFIED = 4096
"""Tokens remembered as genuine in one process."""

_HEAD = struct.Struct(">2sIB4s")
_MAC_BYTES = 16
_LONGEST = 4 * (_HEAD.size + LONGEST + _MAC_BYTES + 2) // 3


@dataclass(frozen=True, slots=True)
class Capability:
    """What a verified token allows.

    Parameters
    ----------
    key
        The chain's key.
    rights
        Bits; `READ_TILES`.
    session
        Whom errors of this layer are told to, and by whom the right can be revoked.
    expires
        Seconds since 1970.
    """

    key: str
    rights: int
    session: str
    expires: int


class Signer:
    """Signs and verifies capabilities.

    Parameters
    ----------
    secrets
        The first signs, all verify: put a new one first and drop the old one after the longest
        validity.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or not all(secrets):
            raise ValueError("signing needs at least one secret")
        keys = [hashlib.sha256(b"geoloom capability\0" + secret.encode()).digest() for secret in secrets]
        named = [(hashlib.sha256(key).digest()[:2], key) for key in keys]
        self._current = named[0]
        self._keys = dict(reversed(named))
        self._verified: dict[str, Capability] = {}

    def sign(self, key: str, session: str, lifetime: float, rights: int = READ_TILES) -> tuple[str, int]:
        """A token for a chain and session, and when it expires (seconds since 1970)."""
        expires = int(time.time() + lifetime)
        name, secret = self._current
        claims = _HEAD.pack(name, expires, rights, _start(key)) + session.encode()
        token = base64.urlsafe_b64encode(claims + _mac(secret, claims, key)).rstrip(b"=").decode()
        return token, expires

    def verify(self, token: str, key: str, rights: int = READ_TILES) -> Capability:
        """What the token allows.

        A map sends one token with all its tiles, so tokens once found genuine are remembered: that
        spares 20 µs of 21. Those that are not are looked at anew each time, and expiry, chain and
        rights are always asked for.

        Raises
        ------
        CapabilityError
            Forged, expired, for another chain, or without the right asked for.
        """
        known = self._verified.get(token)
        if (
            known is not None
            and known.key == key
            and known.rights & rights == rights
            and known.expires > time.time()
        ):
            return known
        capability = self._examine(token, key, rights)
        if len(self._verified) >= MOST_VERIFIED:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = capability
        return capability

    def _examine(self, token: str, key: str, rights: int) -> Capability:
        claims, mac = _split(token)
        name, expires, granted, start = _HEAD.unpack_from(claims)
        if start != _start(key):
            raise CapabilityError("This layer URL's permission is for another chain.", hint=_RENEW)
        secret = self._keys.get(name)
        if secret is None:
            raise CapabilityError("This layer URL was signed by another engine.", hint=_RENEW)
        if not hmac.compare_digest(mac, _mac(secret, claims, key)):
            raise CapabilityError("This layer URL's permission is forged or damaged.", hint=_RENEW)
        if expires <= time.time():
            raise CapabilityError("This layer URL has expired.", hint=_RENEW)
        if granted & rights != rights:
            raise CapabilityError("This layer URL does not give that right.", hint=_RENEW)
        return Capability(key, granted, claims[_HEAD.size :].decode(), expires)


def same_secret(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


_RENEW = "Run the cell that adds the layer again."


def _start(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()[:4]


def _mac(secret: bytes, claims: bytes, key: str) -> bytes:
    return hmac.digest(secret, claims + b"\0" + key.encode("utf-8", "replace"), "sha256")[:_MAC_BYTES]


def _split(token: str) -> tuple[bytes, bytes]:
    try:
        if len(token) > _LONGEST:
            raise ValueError
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True)
        # Two texts of one token would be two keys to anything that remembers tokens.
        if base64.urlsafe_b64encode(raw).rstrip(b"=") != token.encode():
            raise ValueError
        if len(raw) <= _HEAD.size + _MAC_BYTES or not INTERNAL.fullmatch(
            raw[_HEAD.size : -_MAC_BYTES].decode("ascii")
        ):
            raise ValueError
    except (ValueError, binascii.Error):
        raise CapabilityError("This layer URL's permission is forged or damaged.", hint=_RENEW) from None
    return raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
