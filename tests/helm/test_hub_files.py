"""The hub's files in the chart are the repository's, and work as the JupyterHub chart carries them out."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
import yaml
from traitlets.config import Config

from geoloom._version import __version__

RUN = re.compile(r"GEOLOOM_[A-Z_]+")


@pytest.fixture(scope="module")
def files(plain):
    """Their texts, by where they are mounted."""
    mounted = plain.values["jupyterhub"]["hub"]["extraFiles"]
    return {one["mountPath"]: one["stringData"] for one in mounted.values()}


@pytest.fixture(scope="module")
def told(plain):
    """The hub's environment: what comes from a Secret is there as this word."""
    given = plain.values["jupyterhub"]["hub"]["extraEnv"]
    return {name: value if isinstance(value, str) else "from-a-secret" for name, value in given.items()}


def carried_out(files, environment, monkeypatch):
    """The configuration after the JupyterHub chart has carried out the files, one after the other."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    c = Config()
    c.JupyterHub.services = [{"name": "jupyterhub-idle-culler"}]
    c.JupyterHub.load_roles = [{"name": "jupyterhub-idle-culler"}]
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    c.KubeSpawner.environment = {"OF_THE_OPERATOR": "1"}
    c.Spawner.cmd = "jupyterhub-singleuser"

    def get_config(
        key, default=None
    ):  # that chart's own function of this name, which a file must not take for another
        return default

    place = {"c": c, "get_config": get_config}
    for path in sorted(files):
        exec(compile(files[path], path, "exec"), place)
    return c


def test_they_are_as_in_the_repository(chart_folder):
    root = chart_folder.parents[1]
    told = subprocess.run(
        [sys.executable, root / "tools" / "chart.py", "--check"], capture_output=True, text=True
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, ""), "run `make chart`"


def test_they_are_all_there(files, chart_folder):
    folder = chart_folder.parents[1] / "hub" / "jupyterhub_config.d"
    wanted = {
        f"/usr/local/etc/jupyterhub/jupyterhub_config.d/{path.name}": path.read_text()
        for path in folder.glob("*.py")
    }
    assert {path: text.strip() for path, text in files.items()} == {p: t.strip() for p, t in wanted.items()}
    assert len(files) >= 5


def test_they_import_only_what_the_hub_s_image_has(files):
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names | {"jupyterhub", "oauthenticator", "traitlets"}, (
                    path,
                    name,
                )


def test_every_variable_is_one_that_they_read(files, told):
    read = {name for text in files.values() for name in RUN.findall(text)}
    assert set(told) - read == set()


def test_variables_that_examples_set_are_read(rendered, files):
    read = {name for text in files.values() for name in RUN.findall(text)}
    assert set(rendered.values["jupyterhub"]["hub"]["extraEnv"]) - read == set()


def test_services_are_known_to_the_hub(files, told, monkeypatch, plain):
    c = carried_out(files, told, monkeypatch)
    services = {one["name"]: one for one in c.JupyterHub.services}
    assert set(services) == {"jupyterhub-idle-culler", "tiles", "apps", "usage"}
    for name, port in (("tiles", 8080), ("apps", 8866), ("usage", 8877)):
        component = {"tiles": "engine"}.get(name, name)
        assert services[name]["url"] == f"http://geoloom-{component}:{port}"
        assert plain.one("Service", f"geoloom-{component}")["spec"]["ports"][0]["port"] == port
    assert services["apps"]["api_token"] == "from-a-secret"
    assert "api_token" not in services["tiles"]
    roles = {one["name"]: one for one in c.JupyterHub.load_roles}
    assert "access:services!service=tiles" in roles["server"]["scopes"]
    assert "access:services!service=tiles" in roles["user"]["scopes"]


def test_services_that_are_switched_off_are_not(files, told, monkeypatch):
    off = told | {"GEOLOOM_HUB_APPS_URL": "", "GEOLOOM_HUB_USAGE_URL": ""}
    c = carried_out(files, off, monkeypatch)
    assert {one["name"] for one in c.JupyterHub.services} == {"jupyterhub-idle-culler", "tiles"}


def test_users_servers_find_the_engine(files, told, monkeypatch):
    c = carried_out(files, told, monkeypatch)
    environment = c.KubeSpawner.environment
    assert environment["GEOLOOM_ENGINE_URL"] == "http://geoloom-engine:8080"
    assert environment["GEOLOOM_TILES_URL"] == "/services/tiles"
    assert environment["GEOLOOM_TOKEN_FROM"] == "JUPYTERHUB_API_TOKEN"
    assert environment["OF_THE_OPERATOR"] == "1"


def test_users_image_has_what_the_hub_says_it_has(told, chart_folder):
    recipe = (chart_folder.parents[1] / "hub" / "images" / "user" / "Dockerfile").read_text()
    assert f"GEOLOOM_SAMPLES={told['GEOLOOM_HUB_SAMPLES']} " in recipe.replace("\n", " ")
    assert f"GEOLOOM_APPS_FOLDER={told['GEOLOOM_APPS_FOLDER']} " in recipe.replace("\n", " ")


def test_cookies_are_secure_behind_https(files, told, monkeypatch):
    secure = told | {"GEOLOOM_HUB_PUBLIC_URL": "https://geoloom.example.org/"}
    c = carried_out(files, secure, monkeypatch)
    assert c.JupyterHub.tornado_settings["cookie_options"]["secure"] is True
    assert c.JupyterHub.tornado_settings["slow_spawn_timeout"] == 0


def test_versions_are_those_of_the_project(chart_folder, plain):
    chart = yaml.safe_load((chart_folder / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    # SemVer wants a hyphen where Python has a dot.
    assert chart["version"] == re.sub(r"\.(dev|a|b|rc)", r"-\1", __version__)
    assert plain.values["jupyterhub"]["singleuser"]["image"]["tag"] == __version__
    for pod in plain.pods():
        for container in pod.containers:
            name, _, tag = container["image"].rpartition(":")
            if name.startswith("geoloom/"):
                assert tag == __version__
    versions = (chart_folder.parents[1] / "hub" / "versions.env").read_text()
    valkey = plain.values["valkey"]["image"]
    assert f"VALKEY_IMAGE={valkey['name']}:{valkey['tag']}\n" in versions
    for file in (chart_folder / "examples").glob("*.yaml"):
        for tag in re.findall(r"tag: (\d\S*?)[},\s]", file.read_text()):
            assert tag == __version__, file.name
