"""What the environment says about the hub on one machine, and the commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geoloom_engine.embedded.store import EVICTION
from geoloom_hub.__main__ import main, restart
from geoloom_hub.folder import Folder
from geoloom_hub.parts import public_url, recipes, services_origin
from geoloom_hub.settings import BadSetting, Settings

PROXY = {"GEOLOOM_HUB_PROXY": sys.executable}


def read(**variables: str) -> Settings:
    return Settings.read(PROXY | {f"GEOLOOM_HUB_{name}": value for name, value in variables.items()})


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "eighty"}, "GEOLOOM_HUB_PORT is 'eighty': it must be a number from 0 to 65535."),
        ({"PORT": "70000"}, "GEOLOOM_HUB_PORT is '70000'"),
        ({"IDLE": "-1"}, "GEOLOOM_HUB_IDLE is '-1'"),
        ({"PUBLIC_URL": "hub.example.org"}, "it must be like https://hub.example.org"),
        ({"SUBDOMAINS": "https://example.org/hub"}, "GEOLOOM_HUB_SUBDOMAINS is"),
        ({"CONFIG": "/nowhere/config.py"}, "The hub's configuration is not in /nowhere/config.py"),
        ({"TLS_KEY": "key.pem"}, "HTTPS needs both"),
        ({"LOGIN": "dummy", "HOST": "0.0.0.0"}, "lets anybody in as anybody"),
        ({"PROXY": "/nowhere"}, "there is no such program"),
    ],
)
def test_what_cannot_be_meant_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(BadSetting) as refused:
        read(**variables)
    assert message in str(refused.value)


def test_where_the_hub_is_for_browsers(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path, 8123)
    assert public_url(read(), folder) == "http://127.0.0.1:8123"
    assert public_url(read(HOST="::1"), folder) == "http://[::1]:8123"
    assert public_url(read(TLS_KEY="k", TLS_CERTIFICATE="c"), folder) == "https://127.0.0.1:8123"
    assert public_url(read(PUBLIC_URL="https://hub.example.org/"), folder) == "https://hub.example.org"
    subdomains = read(SUBDOMAINS="https://hub.example.org:8443")
    assert public_url(subdomains, folder) == "https://hub.example.org:8443"
    assert services_origin(subdomains) == "https://hub--services.hub.example.org:8443"
    assert services_origin(read()) == ""


def test_each_part_is_told_what_it_needs_and_no_more(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path, 0)
    environ = {
        "GEOLOOM_WORKERS": "3",
        "JUPYTERHUB_API_TOKEN": "theirs",
        "GEOLOOM_TOKEN": "theirs",
        "LANG": "C",
    }
    found = {recipe.name: recipe for recipe in recipes(read(), folder, environ)}
    assert {"chains", "tiles", "engine", "proxy", "hub", "usage", "apps", "culler"} == set(found)
    engine = found["engine"].environment
    assert engine["GEOLOOM_WORKERS"] == "3"
    assert engine["GEOLOOM_TOKEN"] == folder.secrets["engine"]
    assert engine["LANG"] == "C"
    assert not any(
        name.startswith("GEOLOOM_HUB_")
        for name in engine
        if name not in ("GEOLOOM_HUB_API_URL", "GEOLOOM_HUB_SERVICE")
    )
    # Only the engine and the store itself know a store's password.
    for secret in ("chains", "tiles"):
        password = folder.secrets[secret]
        knowing = {name for name, one in found.items() if password in (one.told + str(dict(one.environment)))}
        assert knowing == {secret, "engine"}
    # Nothing that other users of the machine can see holds a secret.
    for recipe in found.values():
        assert not any(secret in " ".join(recipe.command) for secret in folder.secrets.values())
        assert not any(secret in repr(recipe) for secret in folder.secrets.values())
    assert "theirs" not in found["hub"].environment.values()
    for name, recipe in found.items():
        assert set(recipe.needs) <= set(found), name


@pytest.mark.parametrize(
    ("login", "given", "admins"),
    [
        ("password", "", "admin"),
        ("oidc", "", ""),
        ("github", "", ""),
        ("pam", "", ""),
        ("oidc", "eva", "eva"),
    ],
)
def test_nobody_is_an_admin_for_being_called_so_elsewhere(
    tmp_path: Path, login: str, given: str, admins: str
) -> None:
    environ = {"GEOLOOM_HUB_ADMINS": given} if given else {}
    found = {one.name: one for one in recipes(read(LOGIN=login), Folder.open(tmp_path, 0), environ)}
    assert found["hub"].environment["GEOLOOM_HUB_ADMINS"] == admins


@pytest.mark.parametrize(
    ("told", "origin"),
    [("", ""), ("https://hub.example.org:8443", "https://hub--services.hub.example.org:8443")],
)
def test_logins_come_back_to_where_the_services_are(tmp_path: Path, told: str, origin: str) -> None:
    settings = read(SUBDOMAINS=told)
    found = {one.name: one.environment for one in recipes(settings, Folder.open(tmp_path, 0), {})}
    for name in ("apps", "usage"):
        back = found[name]["JUPYTERHUB_OAUTH_CALLBACK_URL"]
        assert back == f"{origin}/services/{name}/oauth_callback"


def test_full_stores_let_go_of_what_the_engine_wants_them_to(tmp_path: Path) -> None:
    found = {one.name: one.told.splitlines() for one in recipes(read(), Folder.open(tmp_path, 0), {})}
    assert {f"{name} {value}" for name, value in EVICTION.items()} <= set(found["chains"])
    assert "maxmemory-policy allkeys-lru" in found["tiles"]


def test_without_limits_on_time_nothing_ends_servers(tmp_path: Path) -> None:
    names = [recipe.name for recipe in recipes(read(IDLE="0"), Folder.open(tmp_path, 0), {})]
    assert "culler" not in names


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["status"], 1, "geoloom: no hub runs in "),
        (["stop"], 0, ""),
        (["restart", "engine"], 1, "geoloom: no part 'engine' runs; there are: none"),
    ],
)
def test_commands_where_nothing_runs(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    Folder.open(tmp_path, 8123)
    found = subprocess.run(
        [sys.executable, "-m", "geoloom_hub", *arguments],
        env={**os.environ, **PROXY, "GEOLOOM_HUB_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == status
    assert (found.stdout + found.stderr).startswith(said)
    # Whoever only looks changes no port that is kept.
    assert Folder.open(tmp_path, 0).ports["public"] == 8123
    assert "Traceback" not in found.stderr


def test_whoever_limits_more_does_not_open_users_folders(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path, 0)
    own = f"{folder.path / 'users'}/{{user}}=user:{{user}}"
    for given, meant in (("", own), ("/data/new=hydro", f"/data/new=hydro,{own}")):
        found = {
            one.name: one.environment
            for one in recipes(read(), folder, {"GEOLOOM_RESTRICTED": given} if given else {})
        }
        assert found["engine"]["GEOLOOM_RESTRICTED"] == meant


def test_the_self_test_has_the_engines_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Folder.open(tmp_path, 8123)
    asked: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append((command, env))
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["self-test"], {**PROXY, "GEOLOOM_HUB_HOME": str(tmp_path)}) == 1
    ((command, environment),) = asked
    assert command[-2:] == ["geoloom_engine", "--self-test"]
    assert environment["GEOLOOM_TOKEN"] == Folder.open(tmp_path, 0).secrets["engine"]


def test_a_restart_waits_until_the_part_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder.open(tmp_path, 8123)
    runs = {"pid": 17, "ready": True, "starts": 1}
    told = iter(
        [runs, runs, {"pid": 18, "ready": False, "starts": 2}, {"pid": 18, "ready": True, "starts": 2}]
    )
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(Folder, "status", lambda _: {"parts": {"engine": next(told)}})
    monkeypatch.setattr("os.kill", lambda *how: ended.append(how))
    # Nobody would start it again: it is left alone.
    assert restart(folder, "engine") == 1
    assert ended == []
    monkeypatch.setattr("geoloom_hub.__main__.holder", lambda _: 1)
    assert restart(folder, "engine") == 0
    assert ended == [(17, signal.SIGTERM)]
    assert list(told) == []
    assert "geoloom: engine works again, after " in capsys.readouterr().out


def test_a_command_makes_no_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {**PROXY, "GEOLOOM_HUB_HOME": str(tmp_path / "elsewhere")}
    for command in ("status", "stop", "restart"):
        assert main([command], environ) == 1
        assert capsys.readouterr().err.startswith("geoloom: There is no hub in ")
    assert not (tmp_path / "elsewhere").exists()
