"""What a user's server does first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.restarter import KernelRestarter

from geoloom_hub import user_server
from geoloom_hub.user_server import FOLDER, copy_samples


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    folder = tmp_path / "samples"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "relief.tif").write_bytes(b"II*")
    for name in ("01_first.ipynb", "02_second.ipynb"):
        (folder / name).write_text("{}")
    return folder


def test_notebooks_are_copied_and_their_data_linked(samples: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert copy_samples(samples, home) == ["01_first.ipynb", "02_second.ipynb"]
    assert (home / FOLDER / "01_first.ipynb").read_text() == "{}"
    assert not (home / FOLDER / "01_first.ipynb").is_symlink()
    assert (home / FOLDER / "data" / "relief.tif").read_bytes() == b"II*"
    assert (home / FOLDER / "data").readlink() == samples / "data"


def test_what_its_owner_changed_or_deleted_stays_so(samples: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    copy_samples(samples, home)
    (home / FOLDER / "01_first.ipynb").write_text("mine")
    (home / FOLDER / "02_second.ipynb").unlink()
    (samples / "03_new.ipynb").write_text("{}")
    assert copy_samples(samples, home) == ["03_new.ipynb"]
    assert (home / FOLDER / "01_first.ipynb").read_text() == "mine"
    assert not (home / FOLDER / "02_second.ipynb").exists()
    assert copy_samples(samples, home) == []


def test_a_notebook_of_the_same_name_is_not_overwritten(samples: Path, tmp_path: Path) -> None:
    mine = tmp_path / "home" / "geoloom-samples" / "01_first.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    copy_samples(samples, tmp_path / "home")
    assert mine.read_text() == "mine"


def test_data_that_moved_are_linked_anew(samples: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / FOLDER).mkdir(parents=True)
    (home / FOLDER / "data").symlink_to(tmp_path / "gone")
    copy_samples(samples, home)
    assert (home / FOLDER / "data" / "relief.tif").is_file()


def test_a_broken_record_is_read_as_none(samples: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    record = home / ".local" / "share" / "geoloom" / "samples.json"
    record.parent.mkdir(parents=True)
    record.write_text("[1")
    assert len(copy_samples(samples, home)) == 2
    assert json.loads(record.read_text()) == ["01_first.ipynb", "02_second.ipynb"]


LIMIT = """
import sys
from geoloom_hub.user_server import limit_memory
limit_memory(sys.argv[1])
bytearray(int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("most", "taken", "fits"), [("", 600, True), ("1G", 200, True), ("300M", 600, False)]
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count something else")
def test_memory_is_limited(most: str, taken: int, fits: bool) -> None:
    command = [sys.executable, "-c", LIMIT, most, str(taken << 20)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode == 0) == fits
    assert fits or "MemoryError" in found.stderr


def test_a_limit_that_means_nothing_is_told_and_left(caplog: pytest.LogCaptureFixture) -> None:
    from geoloom_hub.user_server import limit_memory

    limit_memory("lots")
    assert "'lots', not a size such as 2G" in caplog.text


def test_kernels_that_died_are_missed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the spawner says comes last, and wins."""
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: became.append(arguments))
    monkeypatch.setattr(sys, "argv", ["user_server", "--port=1"])
    monkeypatch.setattr(user_server, "lab_environment", lambda folder: {})
    for name in ("GEOLOOM_SAMPLES", "GEOLOOM_PROCESS_MEMORY", "GEOLOOM_PROCESS_NICE"):
        monkeypatch.delenv(name, raising=False)
    user_server.main()
    *_, program, look, last = became[0]
    assert (program, last) == ("jupyterhub.singleuser", "--port=1")
    option, _, seconds = look.removeprefix("--KernelRestarter.").partition("=")
    assert 0 < float(seconds) < KernelRestarter.class_traits()[option].default_value


def test_the_folder_is_not_taken_for_the_package() -> None:
    assert not FOLDER.isidentifier()
