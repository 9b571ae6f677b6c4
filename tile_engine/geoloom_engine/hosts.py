"""Which Host names and Origins are answered."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from geoloom_engine.settings import LOOPBACK, Settings

_ORIGIN = re.compile(r"https?://[^/@\\?#\s]+/?", re.IGNORECASE)
"""Scheme, host and port: what browsers send, and nothing that others might read differently."""


class Hosts:
    """Host names and Origins to answer: a page elsewhere must not reach an engine here.

    A page of any site can send requests to loopback addresses, also under a name of its own that
    it lets point there (DNS rebinding); so unless an engine was told its names, only loopback names
    are answered. Listening for other machines, or behind a hub, it needs a token, which such a page
    lacks, and any name will do.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = tuple(name.lower() for name in settings.allowed_hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)
        others = not settings.loopback or bool(settings.hub_api_url)
        self._any_host = "*" in self._names or (others and not self._names)

    def trusts_host(self, host: str) -> bool:
        """Whether to answer to this Host header."""
        name = _hostname(f"//{host}")
        if self._any_host or _is_loopback(name):
            return True
        return any(name == one or (one.startswith(".") and name.endswith(one)) for one in self._names if name)

    def trusts_origin(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        if origin.rstrip("/").lower() in self._origins:
            return True
        return bool(_ORIGIN.fullmatch(origin)) and _is_loopback(_hostname(origin))


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name in LOOPBACK or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
