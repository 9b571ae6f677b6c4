"""What the apps service is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["BadSetting", "Settings"]


class BadSetting(ValueError):
    """A variable of the environment holds what it cannot mean."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The apps service's settings; `read` takes them from the environment.

    Parameters
    ----------
    folder
        Where the apps are: its notebooks are served, nothing else in it. ``GEOLOOM_APPS_FOLDER``.
    host, port
        Where the service listens. ``JUPYTERHUB_SERVICE_URL``.
    prefix
        Path of all its pages, with a slash at both ends. ``JUPYTERHUB_SERVICE_PREFIX``.
    guests
        Whether anybody may open apps without a login. ``GEOLOOM_APPS_GUESTS``.
    kernels
        How many apps run at once, all visitors together. ``GEOLOOM_APPS_KERNELS``.
    kernels_each
        How many one visitor has open at once. ``GEOLOOM_APPS_KERNELS_EACH``.
    idle
        Seconds after which an app that nobody touches is ended. ``GEOLOOM_APPS_IDLE``.
    life
        Seconds after which an app is ended in any case. ``GEOLOOM_APPS_LIFE``.
    left
        Seconds for which an app waits for a page that went away. ``GEOLOOM_APPS_LEFT``.
    start
        Seconds that one cell of an app may take. ``GEOLOOM_APPS_START``.
    token_name
        Name of the variable with the token that apps show to the engine. ``GEOLOOM_TOKEN_FROM``.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8866
    prefix: str = "/services/apps/"
    guests: bool = False
    kernels: int = 20
    kernels_each: int = 4
    idle: int = 1800
    life: int = 28800
    left: int = 60
    start: int = 120
    token_name: str = "JUPYTERHUB_API_TOKEN"  # noqa: S105

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings in an environment, by default this process's.

        Raises
        ------
        BadSetting
            A value cannot be read, or the folder is not there.
        """
        given = os.environ if environ is None else environ
        default = {one.name: one.default for one in fields(cls)}
        folder = Path(given.get("GEOLOOM_APPS_FOLDER", "").strip() or "apps").absolute()
        if not folder.is_dir():
            raise BadSetting(
                f"There is no folder {folder}. Set GEOLOOM_APPS_FOLDER to the folder of the apps' notebooks."
            )
        address = urlsplit(
            given.get("JUPYTERHUB_SERVICE_URL") or f"http://{default['host']}:{default['port']}"
        )
        if address.scheme != "http" or address.port is None:
            raise BadSetting(
                "JUPYTERHUB_SERVICE_URL is where the apps listen: http://HOST:PORT, with a port."
            )
        prefix = given.get("JUPYTERHUB_SERVICE_PREFIX") or str(default["prefix"])
        return cls(
            folder=folder,
            host=address.hostname or "127.0.0.1",
            port=address.port,
            prefix=f"/{prefix.strip('/')}/" if prefix.strip("/") else "/",
            guests=_flag(given, "GEOLOOM_APPS_GUESTS"),
            kernels=_number(given, "GEOLOOM_APPS_KERNELS", default["kernels"]),
            kernels_each=_number(given, "GEOLOOM_APPS_KERNELS_EACH", default["kernels_each"]),
            idle=_number(given, "GEOLOOM_APPS_IDLE", default["idle"]),
            life=_number(given, "GEOLOOM_APPS_LIFE", default["life"]),
            left=_number(given, "GEOLOOM_APPS_LEFT", default["left"]),
            start=_number(given, "GEOLOOM_APPS_START", default["start"]),
            token_name=given.get("GEOLOOM_TOKEN_FROM") or str(default["token_name"]),
        )


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "").strip().lower()
    if text not in {"", "0", "1", "false", "true", "no", "yes"}:
        raise BadSetting(f"{name} is 1 or 0, not {text!r}.")
    return text in {"1", "true", "yes"}


def _number(given: Mapping[str, str], name: str, default: Any) -> int:
    text = given.get(name, "").strip()
    if not text:
        return int(default)
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise BadSetting(f"{name} is a whole number, at least 1, not {text!r}.")
    return int(text)
