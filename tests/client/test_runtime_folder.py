from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from geoloom import runtime_folder


def test_runtime_folder_is_short_enough_for_sockets(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    for environ in ({}, {"XDG_RUNTIME_DIR": str(long)}, {"XDG_RUNTIME_DIR": str(tmp_path / "missing")}):
        folder = runtime_folder.runtime_path(environ)
        assert folder.parent == Path("/tmp")
        assert folder.name.startswith(f"geoloom-{os.getuid()}-")
        assert len(os.fsencode(folder / "valkey.sock")) <= 104


def test_runtime_folder_of_the_session_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_folder, "SOCKET_PATH_BYTES", 1000)
    tmp_path.chmod(0o700)
    assert runtime_folder.runtime_path({"XDG_RUNTIME_DIR": str(tmp_path)}).parent == tmp_path
    tmp_path.chmod(0o770)
    assert runtime_folder.runtime_path({"XDG_RUNTIME_DIR": str(tmp_path)}).parent == Path("/tmp")


def test_versions_and_environments_do_not_meet_but_data_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"HOME": "/home/anna"}
    runtime, data = runtime_folder.runtime_path(environ), runtime_folder.data_path(environ)
    monkeypatch.setattr(runtime_folder, "__version__", "99")
    assert runtime_folder.runtime_path(environ) != runtime
    assert runtime_folder.data_path(environ) == data
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    assert runtime_folder.data_path(environ) != data


@pytest.mark.parametrize(
    ("platform", "environ", "parent"),
    [
        ("linux", {"HOME": "/h"}, "/h/.local/share/geoloom"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Application Support/geoloom"),
        ("darwin", {"HOME": "/h", "XDG_DATA_HOME": "/d"}, "/d/geoloom"),
    ],
)
def test_data_folder(
    monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], parent: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert runtime_folder.data_path(environ).parent == Path(parent)


def test_held_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not runtime_folder.held(path)
    descriptor = runtime_folder.hold(path, time.monotonic())
    assert runtime_folder.held(path)
    with pytest.raises(TimeoutError):
        runtime_folder.hold(path, time.monotonic())
    assert runtime_folder.still_there(path, descriptor)
    path.rename(tmp_path / "elsewhere")
    path.touch()
    assert not runtime_folder.still_there(path, descriptor)
    runtime_folder.let_go(descriptor)
    assert not runtime_folder.held(tmp_path / "elsewhere")


def test_collections_are_shared_by_all_environments_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"XDG_DATA_HOME": "/some/where"}
    assert runtime_folder.catalog_path(environ) == Path("/some/where/geoloom/catalog")
    data = runtime_folder.data_path(environ)
    monkeypatch.setattr(runtime_folder.sys, "prefix", "/another/environment")
    assert runtime_folder.data_path(environ) != data
    assert runtime_folder.catalog_path(environ) == Path("/some/where/geoloom/catalog")
