"""Where the browser finds the tiles: the kernel reaches the engine on loopback, the browser often cannot.

Tried in this order:

1. ``GEOLOOM_TILES_URL``, in which ``{port}`` stands for the engine's port;
2. an engine that is not on this machine is taken to be reached by browsers as by kernels;
3. below JupyterHub, the proxy of the user's server: ``/user/anna/proxy/20123``;
4. the Jupyter server that owns this kernel, if a proxy on it leads to this engine: ``/lab/proxy/20123``;
5. ``http://127.0.0.1:20123``.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import math
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geoloom.local import Endpoint

__all__ = ["tiles_base"]

TIMEOUT_SECONDS = 2.0

FOREIGN_PAGES = ("VSCODE_PID", "PYCHARM_HOSTED", "DATASPELL_HOSTED")
"""Set by editors whose notebook page does not come from the Jupyter server: paths on it lead nowhere."""

WILDCARDS = ("", "*", "0.0.0.0", "::")  # noqa: S104 (compared with, not listened on)

REFUSALS = (302, 401, 403)

REMEMBER_SECONDS = 60.0
"""How long a fallback to loopback is remembered; what was confirmed is remembered for good."""

_found: dict[tuple[str, str], tuple[str, float]] = {}


def tiles_base(endpoint: Endpoint, environ: Mapping[str, str] | None = None) -> str:
    """URL prefix, or path from the page's root, by which a browser reaches the engine.

    The answer is remembered per engine; it never contains a secret.

    Parameters
    ----------
    endpoint
        The engine as this process reaches it.
    environ
        Environment to look at instead of this process's own; then nothing is remembered.

    Returns
    -------
    str
        Without a final slash, such as ``/user/anna/proxy/20123`` or ``http://127.0.0.1:20123``.
    """
    if environ is not None:
        return _look(endpoint, environ)
    known = (endpoint.url, endpoint.nonce)
    base, until = _found.get(known, ("", 0.0))
    if time.monotonic() >= until:
        base = _look(endpoint, os.environ)
        final = base != endpoint.url.rstrip("/")
        _found[known] = base, math.inf if final else time.monotonic() + REMEMBER_SECONDS
    return base


def _look(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    direct = endpoint.url.rstrip("/")
    parts = urlsplit(direct)
    port = str(parts.port or {"https": 443}.get(parts.scheme, 80))
    if chosen := environ.get("GEOLOOM_TILES_URL", "").strip():
        return chosen.replace("{port}", port).rstrip("/")
    if not _loopback(parts.hostname or ""):
        return direct
    if any(environ.get(name) for name in FOREIGN_PAGES):
        return direct
    if prefix := environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        return f"/{prefix.strip('/')}/proxy/{port}".replace("//", "/")
    server = _jupyter_server(environ)
    if server is not None:
        base = "/" + str(server.get("base_url", "/")).strip("/")
        path = f"{base.rstrip('/')}/proxy/{port}"
        if _leads_to(endpoint, server, path):
            return path
    return direct


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _jupyter_server(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """What the Jupyter server that started this kernel says of itself, or None."""
    parent = environ.get("JPY_PARENT_PID", "")
    if not parent.isdigit():
        return None
    if environ.get("JUPYTER_RUNTIME_DIR"):
        folder = Path(environ["JUPYTER_RUNTIME_DIR"])
    else:
        try:
            from jupyter_core.paths import jupyter_runtime_dir
        except ImportError:
            return None
        folder = Path(jupyter_runtime_dir())
    try:
        server = json.loads((folder / f"jpserver-{parent}.json").read_text())
    except (OSError, ValueError):
        return None
    return server if isinstance(server, dict) else None


def _leads_to(endpoint: Endpoint, server: Mapping[str, Any], path: str) -> bool:
    """Whether a GET through the Jupyter server's proxy is answered by the engine itself.

    A login page answers everything with status 200; only the engine knows its nonce. Redirects are not
    followed, so the server's token goes to this server only. A server with a password has no token that a
    kernel could use: there the proxy is believed if it, and not just any path, asks for the password.
    """
    try:
        address = _address(server)
        nonce = endpoint.nonce or _answer(_get(endpoint.url, "/healthz", {})[1]).get("engine")
        path = f"{path}/healthz?nonce={secrets.token_hex(8)}"
        if server.get("token"):
            body = _get(address, path, {"Authorization": f"token {server['token']}"})[1]
            return bool(nonce) and _answer(body).get("engine") == nonce
        status, body = _get(address, path, {})
        if status in REFUSALS:
            return _get(address, path.replace("/proxy/", f"/{secrets.token_hex(8)}/"), {})[0] == 404
        return bool(nonce) and _answer(body).get("engine") == nonce
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _address(server: Mapping[str, Any]) -> str:
    """A URL at which this machine reaches the Jupyter server."""
    parts = urlsplit(str(server.get("url", "")))
    if str(server.get("hostname", "")) in WILDCARDS:
        return f"{parts.scheme}://127.0.0.1:{parts.port}"
    return f"{parts.scheme}://{parts.netloc}"


def _get(server: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body."""
    parts = urlsplit(server)
    host = parts.hostname or "127.0.0.1"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # The certificate is often home-made or for the public name; the nonce is the proof.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(10_000)
    finally:
        connection.close()


def _answer(body: bytes) -> dict[str, Any]:
    answer = json.loads(body)
    return answer if isinstance(answer, dict) else {}
