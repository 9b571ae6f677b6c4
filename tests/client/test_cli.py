"""The command `geoloom`: what it starts, and what it passes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geoloom import cli

RUN = "import sys; from geoloom import cli; {} sys.exit(cli.main(sys.argv[1:]))"


def run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN.format(before), *arguments], capture_output=True, text=True, timeout=60
    )


def test_without_a_command_it_lists_them() -> None:
    done = run()
    assert done.returncode == 2
    assert "ingest" in done.stdout
    assert run("--help").returncode == 0


def test_an_unknown_command_is_named() -> None:
    done = run("injest")
    assert done.returncode == 2
    assert "there is no command 'injest'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_runs_in_its_place_with_its_arguments_and_status() -> None:
    done = run("ingest", "--help")
    assert done.returncode == 0
    assert "--collection" in done.stdout
    wrong = run("ingest", "somewhere")
    assert wrong.returncode == 2
    assert "--collection" in wrong.stderr


def test_without_the_engine_it_says_what_to_install() -> None:
    done = run("ingest", before="cli.COMMANDS['ingest'] = cli.Command('no_such_engine.ingest', '');")
    assert done.returncode == 2
    assert "pip install 'geoloom[engine]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="processes are replaced on POSIX alone")
def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(""), "ingest", "--watch", str(tmp_path), "--collection", "c"]
        + ["--catalog", str(tmp_path / "catalog"), "--every", "1h"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "Watching" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "Stopped" in process.stdout.read()
    process.stdout.close()


def test_every_command_is_described() -> None:
    assert all(command.about and command.module for command in cli.COMMANDS.values())
