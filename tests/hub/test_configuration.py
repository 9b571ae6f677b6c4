"""JupyterHub's configuration, as the hub on one machine and as the chart loads it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from geoloom_hub.settings import SOURCE

FILES = sorted((SOURCE / "jupyterhub_config.d").glob("*.py"))
OF_ONE_MACHINE = sorted((SOURCE / "one_machine.d").glob("*.py"))
TOKENS = {
    "GEOLOOM_HUB_USAGE_URL": "http://127.0.0.1:1",
    "GEOLOOM_HUB_USAGE_TOKEN": "usage-token",
    "GEOLOOM_HUB_APPS_URL": "http://127.0.0.1:2",
    "GEOLOOM_HUB_APPS_TOKEN": "apps-token",
    "GEOLOOM_HUB_SUPERVISOR_TOKEN": "supervisor-token",
    "GEOLOOM_HUB_CULLER_TOKEN": "culler-token",
}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("GEOLOOM_", "JUPYTERHUB_", "OAUTH")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def load(clean: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Load the whole configuration of one machine under some variables."""

    def load(**environment: str) -> Config:
        for name, value in {"GEOLOOM_HUB_HOME": str(tmp_path), **TOKENS, **environment}.items():
            clean.setenv(name, value)
        return PyFileConfigLoader("jupyterhub_config.py", str(SOURCE)).load_config()

    return load


def by_name(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = [one["name"] for one in listed]
    assert sorted(set(names)) == sorted(names)
    return {one["name"]: one for one in listed}


def test_roles_and_services(load: Any) -> None:
    c = load(GEOLOOM_HUB_ADMINS="admin, eva", GEOLOOM_HUB_ADMIN_GROUPS="staff")
    roles, services = by_name(c.JupyterHub.load_roles), by_name(c.JupyterHub.services)
    tiles = "access:services!service=tiles"
    assert {tiles, "self"} <= set(roles["user"]["scopes"])
    # What runs in a notebook has neither its owner's other rights nor an admin's.
    assert set(roles["server"]["scopes"]) == {"users:activity!user", "access:servers!server", tiles}
    assert roles["geoloom-admin"]["users"] == ["admin", "eva"]
    assert roles["geoloom-admin"]["groups"] == ["staff"]
    # The engine has no token of the hub's.
    assert "api_token" not in services["tiles"]
    assert services["usage"]["api_token"] == "usage-token"
    granted = {service for role in roles.values() for service in role.get("services", [])}
    assert granted <= set(services)


def test_jupyterhub_takes_roles_services_and_login(load: Any, tmp_path: Path) -> None:
    """Its own application loads the files and knows every setting in them."""
    load(CONFIGPROXY_AUTH_TOKEN="proxy-token")
    code = (
        "import asyncio, sys; from jupyterhub.app import JupyterHub\n"
        "app = JupyterHub(config_file=sys.argv[1])\n"
        "asyncio.run(app.initialize([]))\n"
        "print(sorted(app._service_map), type(app.authenticator).__name__, app.spawner_class.__name__)\n"
    )
    environment = {**os.environ, "GEOLOOM_HUB_PASSWORD": "p" * 12, "GEOLOOM_HUB_ADMIN_PASSWORD": "a" * 32}
    found = subprocess.run(
        [sys.executable, "-c", code, str(SOURCE / "jupyterhub_config.py")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    services = "['apps', 'culler', 'supervisor', 'tiles', 'usage']"
    assert f"{services} SharedPasswordAuthenticator SimpleLocalProcessSpawner" in found.stdout
    assert "not recognized" not in found.stderr
    assert "Traceback" not in found.stderr


def test_files_work_where_the_chart_loads_them(clean: pytest.MonkeyPatch) -> None:
    """In one namespace, after its own settings, where `get_config` is another function."""
    c = Config()
    c.JupyterHub.services = []
    c.JupyterHub.load_roles = []
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.KubeSpawner.environment = {"THEIRS": "1"}
    clean.setenv("GEOLOOM_HUB_ENGINE_URL", "http://engine:8080")
    names: dict[str, Any] = {"c": c, "get_config": lambda key, default=None: default}
    for file in FILES:
        exec(compile(file.read_text(), file.name, "exec"), names)
    assert c.KubeSpawner.environment["THEIRS"] == "1"
    assert c.KubeSpawner.environment["GEOLOOM_ENGINE_URL"] == "http://engine:8080"
    assert c.JupyterHub.tornado_settings["slow_spawn_timeout"] == 0
    assert c.JupyterHub.services[0]["url"] == "http://engine:8080"
    # What the chart decides is left alone.
    for section, trait in [
        ("JupyterHub", "db_url"),
        ("JupyterHub", "spawner_class"),
        ("JupyterHub", "authenticator_class"),
        ("JupyterHub", "hub_bind_url"),
        ("ConfigurableHTTPProxy", "api_url"),
    ]:
        assert trait not in c[section]


@pytest.mark.parametrize(
    ("environment", "secure", "prefixed"),
    [
        ({}, False, False),
        ({"GEOLOOM_HUB_PUBLIC_URL": "https://hub.example.org/"}, True, False),
        ({"GEOLOOM_HUB_SUBDOMAINS": "https://hub.example.org"}, True, True),
        ({"GEOLOOM_HUB_SUBDOMAINS": "http://hub.localhost:8000"}, False, False),
    ],
)
def test_cookies(load: Any, environment: dict[str, str], secure: bool, prefixed: bool) -> None:
    c = load(**environment)
    options = c.JupyterHub.tornado_settings.get_value({})["cookie_options"]
    assert options["samesite"] == "Lax"
    assert options.get("secure", False) is secure
    assert bool(c.JupyterHub.get("cookie_host_prefix_enabled", False)) is prefixed


@pytest.mark.parametrize(
    ("login", "kind"),
    [
        ("password", "shared-password"),
        ("dummy", "dummy"),
        ("pam", "pam"),
        ("github", "github"),
    ],
)
def test_ways_to_log_in(load: Any, login: str, kind: str) -> None:
    c = load(GEOLOOM_HUB_LOGIN=login, GEOLOOM_HUB_ADMINS="eva")
    assert c.JupyterHub.authenticator_class == kind
    assert c.Authenticator.admin_users == {"eva"}
    # Whoever the provider or the system knows is not let in for that alone.
    assert c.Authenticator.get("allow_all", False) is (login in ("password", "dummy"))
    if login == "github":
        assert c.OAuthenticator.allow_all is False


def test_only_the_users_named_may_log_in(load: Any) -> None:
    c = load(GEOLOOM_HUB_USERS="anna,ben", GEOLOOM_HUB_ADMINS="eva")
    assert c.Authenticator.allowed_users == {"anna", "ben", "eva"}
    assert c.Authenticator.allow_all is False


def test_the_operators_own_files_have_the_last_word(load: Any, tmp_path: Path) -> None:
    own = tmp_path / "jupyterhub_config.d"
    own.mkdir()
    (own / "10_mine.py").write_text("c.Spawner.default_url = '/tree'\n")
    assert load().Spawner.default_url == "/tree"


def variables(path: Path) -> dict[str, str]:
    """Variables that a file reads, with their defaults where those are written out."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in ("os.environ.get", "names", "text", "number", "url"):
                name = str(node.args[0].value)
                prefix = "" if called in ("os.environ.get", "names") else "GEOLOOM_HUB_"
                default = node.args[1] if len(node.args) > 1 else None
                found[prefix + name] = str(default.value) if isinstance(default, ast.Constant) else ""
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            found.setdefault(str(ast.literal_eval(node.slice)), "")
    return {name: value for name, value in found.items() if name.startswith("GEOLOOM_")}


def test_every_variable_is_documented_with_its_default() -> None:
    read: dict[str, str] = {}
    for path in [
        *FILES,
        *OF_ONE_MACHINE,
        SOURCE / "jupyterhub_config.py",
        SOURCE / "geoloom_hub" / "settings.py",
    ]:
        for name, default in variables(path).items():
            read[name] = read.get(name) or default
    page = (SOURCE.parent / "docs" / "hub.md").read_text()
    rows = re.findall(r"^\| `(GEOLOOM_\w+)` \| (.*?) \|", page, re.MULTILINE)
    told = {name: default.strip("` ") for name, default in rows}
    assert sorted(set(read) - set(told)) == []
    assert sorted(set(told) - set(read)) == []
    wrong = {
        name: (told[name], default) for name, default in read.items() if default and default not in told[name]
    }
    assert wrong == {}


@pytest.mark.parametrize("path", [*FILES, *OF_ONE_MACHINE], ids=lambda path: path.name)
def test_a_file_says_what_it_is_for_and_stands_alone(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert re.fullmatch(r"\d\d_[a-z]+\.py", path.name)
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "get_config" not in calls
    # The chart's image of the hub has JupyterHub and the standard library.
    tops = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }
    assert tops <= {"jupyterhub", *sys.stdlib_module_names}
