"""The hub's state in one folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from geoloom_hub.folder import PORTS, Folder, free, hold, holder, name_holder


def test_secrets_and_ports_are_made_once_and_kept(tmp_path: Path) -> None:
    first = Folder.open(tmp_path / "hub", 0)
    second = Folder.open(tmp_path / "hub", 0)
    assert first.secrets == second.secrets
    assert first.ports == second.ports
    assert len(set(first.secrets.values())) == len(first.secrets)
    assert len(set(first.ports.values())) == len(PORTS)
    # The admins' password is long enough for JupyterHub, and no secret stands in what is shown of it.
    assert len(first.secrets["admin_password"]) >= 32
    assert not any(secret in repr(first) for secret in first.secrets.values())


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir(mode=0o755)
    folder = Folder.open(tmp_path / "hub", 0)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for name in ("secrets.json", "ports.json"):
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((folder.path / "users").stat().st_mode) == 0o700


def test_a_port_that_is_named_goes_before_the_one_kept(tmp_path: Path) -> None:
    Folder.open(tmp_path, 8123)
    assert Folder.open(tmp_path, 8124).ports["public"] == 8124
    assert Folder.open(tmp_path, 0).ports["public"] == 8124


def test_a_new_secret_is_added_and_a_damaged_file_made_anew(tmp_path: Path) -> None:
    known = Folder.open(tmp_path, 0).secrets
    (tmp_path / "secrets.json").write_text(json.dumps({"engine": known["engine"]}))
    again = Folder.open(tmp_path, 0).secrets
    assert again["engine"] == known["engine"]
    assert again["proxy"] != known["proxy"]
    (tmp_path / "ports.json").write_text("[")
    assert set(Folder.open(tmp_path, 0).ports) == set(PORTS)


def test_a_lock_names_its_holder_while_it_is_held(tmp_path: Path) -> None:
    lock = tmp_path / "engine.lock"
    assert holder(lock) is None
    with hold(lock) as descriptor:
        name_holder(descriptor, 4711)
        assert holder(lock) == 4711
        with pytest.raises(BlockingIOError), hold(lock):
            pass
        # A child that inherited it holds it too.
        inherited = os.dup(descriptor)
    assert holder(lock) == 4711
    fcntl.flock(inherited, fcntl.LOCK_UN)
    os.close(inherited)
    assert holder(lock) is None


def test_free_ports() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not free(taken.getsockname()[1])
    assert not free(80, "192.0.2.1")
