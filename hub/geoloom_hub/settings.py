"""What the environment says about the hub on this machine; docs/hub.md explains each variable."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["BadSetting", "Settings"]

SOURCE = Path(__file__).resolve().parent.parent
"""The folder ``hub`` of a checkout."""


class BadSetting(ValueError):
    """A variable of the environment holds what it cannot mean."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the hub on this machine is started; `read` takes it from the environment.

    Parameters
    ----------
    home
        The folder of all state. ``GEOLOOM_HUB_HOME``.
    host, port
        Where browsers come in; port 0 takes a free one, and keeps it. ``GEOLOOM_HUB_HOST``,
        ``GEOLOOM_HUB_PORT``.
    public_url
        What browsers call that, if there is another proxy in front or a name. ``GEOLOOM_HUB_PUBLIC_URL``.
    subdomains
        The same where each user has a subdomain of it. ``GEOLOOM_HUB_SUBDOMAINS``.
    tls_key, tls_certificate
        Files for HTTPS. ``GEOLOOM_HUB_TLS_KEY``, ``GEOLOOM_HUB_TLS_CERTIFICATE``.
    config
        JupyterHub's configuration. ``GEOLOOM_HUB_CONFIG``.
    proxy
        The program configurable-http-proxy. ``GEOLOOM_HUB_PROXY``.
    samples
        Notebooks that each user gets a copy of. ``GEOLOOM_HUB_SAMPLES``.
    chains_memory, tiles_memory
        What the two Valkeys may take. ``GEOLOOM_HUB_CHAINS_MEMORY``, ``GEOLOOM_HUB_TILES_MEMORY``.
    idle, age
        Seconds after which an unused server, or any, is ended; 0: never. ``GEOLOOM_HUB_IDLE``,
        ``GEOLOOM_HUB_AGE``.
    login
        How people log in. ``GEOLOOM_HUB_LOGIN``.
    """

    home: Path
    host: str
    port: int
    public_url: str
    subdomains: str
    tls_key: str
    tls_certificate: str
    config: Path
    proxy: Path
    samples: Path
    chains_memory: str
    tiles_memory: str
    idle: int
    age: int
    login: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment.

        Raises
        ------
        BadSetting
            A variable holds what it cannot mean, or something it names is not there.
        """

        def text(name: str, default: str) -> str:
            return environ.get(f"GEOLOOM_HUB_{name}", "").strip() or default

        def number(name: str, default: int, most: int) -> int:
            given = text(name, str(default))
            if not given.isdecimal() or int(given) > most:
                raise BadSetting(f"GEOLOOM_HUB_{name} is {given!r}: it must be a number from 0 to {most}.")
            return int(given)

        def url(name: str) -> str:
            given = text(name, "")
            parts = urlsplit(given)
            if given and (
                parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/")
            ):
                raise BadSetting(f"GEOLOOM_HUB_{name} is {given!r}: it must be like https://hub.example.org.")
            return given.rstrip("/")

        found = cls(
            home=Path(text("HOME", ".hub")).absolute(),
            host=text("HOST", "127.0.0.1"),
            port=number("PORT", 8000, 65_535),
            public_url=url("PUBLIC_URL"),
            subdomains=url("SUBDOMAINS"),
            tls_key=text("TLS_KEY", ""),
            tls_certificate=text("TLS_CERTIFICATE", ""),
            config=Path(text("CONFIG", str(SOURCE / "jupyterhub_config.py"))).absolute(),
            proxy=_proxy(environ),
            samples=Path(text("SAMPLES", str(SOURCE.parent / "notebooks"))).absolute(),
            chains_memory=text("CHAINS_MEMORY", "256mb"),
            tiles_memory=text("TILES_MEMORY", "256mb"),
            idle=number("IDLE", 3600, 10**8),
            age=number("AGE", 0, 10**8),
            login=text("LOGIN", "password"),
        )
        found.check()
        return found

    def check(self) -> None:
        """Refuse what cannot work.

        Raises
        ------
        BadSetting
            With one sentence about it.
        """
        if not self.config.is_file():
            raise BadSetting(
                f"The hub's configuration is not in {self.config}. Run this in a checkout of Geoloom, "
                "or name jupyterhub_config.py with GEOLOOM_HUB_CONFIG."
            )
        if bool(self.tls_key) != bool(self.tls_certificate):
            raise BadSetting("HTTPS needs both GEOLOOM_HUB_TLS_KEY and GEOLOOM_HUB_TLS_CERTIFICATE.")
        if self.login == "dummy" and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise BadSetting(
                f"GEOLOOM_HUB_LOGIN=dummy lets anybody in as anybody, and GEOLOOM_HUB_HOST={self.host} lets "
                "other machines call. Use another way to log in, or listen on 127.0.0.1."
            )


def _proxy(environ: Mapping[str, str]) -> Path:
    """The proxy's program: named, beside the environment's Python, or in ``$PATH``."""
    named = environ.get("GEOLOOM_HUB_PROXY", "").strip()
    beside = Path(sys.prefix) / "node" / "node_modules" / ".bin" / "configurable-http-proxy"
    if named:
        found = Path(named).absolute()
        if not found.is_file():
            raise BadSetting(f"GEOLOOM_HUB_PROXY is {named!r}: there is no such program.")
        return found
    if beside.is_file():
        return beside
    installed = shutil.which("configurable-http-proxy", path=environ.get("PATH"))
    if installed is None:
        raise BadSetting(
            "There is no configurable-http-proxy. Run tools/setup hub, "
            "or: npm install -g configurable-http-proxy"
        )
    return Path(installed)
