"""``python -m geoloom_hub.backup``: save what a hub on this machine has to keep, and put its chains back.

Chains are saved by ``geoloom_engine.backup``, into a file of their own; the hub's database, secrets, ports
and configuration into an archive beside it. Both while all goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from geoloom_hub.folder import Folder
from geoloom_hub.settings import BadSetting, Settings

PATTERN = "hub-{:%Y%m%dT%H%M%SZ}.tar.gz"
FOUND = "hub-*Z.tar.gz"
DATABASE = "jupyterhub.sqlite"
KEPT = ("secrets.json", "ports.json", "jupyterhub_config.d")
"""What is saved beside the database; logs, sockets and home folders are not."""


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Do what the command line says; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m geoloom_hub.backup", description="Backup of a hub on one machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="write backups into a folder")
    saving.add_argument("folder", type=Path)
    saving.add_argument("--keep", type=int, default=14, help="how many of each stay; by default 14")
    restoring = commands.add_parser(
        "restore", help="put chains back into the hub's store; what is there stays"
    )
    restoring.add_argument("file", type=Path)
    asked = parser.parse_args(arguments)
    try:
        settings = Settings.read(environ)
        if not (settings.home / "secrets.json").exists():
            raise BadSetting(f"There is no hub in {settings.home}. Name its folder in GEOLOOM_HUB_HOME.")
        folder = Folder.open(settings.home, 0)
        if asked.command == "restore":
            if asked.file.match(FOUND):
                raise BadSetting(
                    f"{asked.file.name} is the hub's own state, not its chains (geoloom-….gz). "
                    f"To put it back, stop the hub and unpack it into {folder.path}."
                )
            return chains(folder, environ, "restore", str(asked.file))
        if asked.keep < 1:
            raise BadSetting("--keep is less than 1: nothing would be kept.")
        asked.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = save(folder, asked.folder, asked.keep)
        sys.stdout.write(f"{path}: the hub's database, secrets and configuration.\n")
        return chains(folder, environ, "save", str(asked.folder), "--keep", str(asked.keep))
    except (BadSetting, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"geoloom: {error}\n")
        return 1


def chains(folder: Folder, environ: Mapping[str, str], *arguments: str) -> int:
    """Save or restore the chain store; the exit status."""
    url = f"redis://:{folder.secrets['chains']}@127.0.0.1:{folder.ports['chains']}/0"
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "geoloom_engine.backup", *arguments]
    # The password stands in the environment: arguments can be read by all users of a machine.
    return subprocess.run(command, env={**environ, "GEOLOOM_REDIS_URL": url}, check=False).returncode


def save(folder: Folder, target: Path, keep: int) -> Path:
    """Write the archive of the hub's own state, and remove the oldest; its path."""
    path = target / PATTERN.format(datetime.now(UTC))
    part = path.with_name(f".{path.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=folder.path / "run") as aside:
            copy = Path(aside) / DATABASE
            if (folder.path / DATABASE).exists():
                # The database's own way: whole, though the hub writes.
                with (
                    contextlib.closing(sqlite3.connect(folder.path / DATABASE)) as source,
                    contextlib.closing(sqlite3.connect(copy)) as into,
                ):
                    source.backup(into)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                with tarfile.open(fileobj=file, mode="w:gz") as archive:
                    for one in (copy, *(folder.path / name for name in KEPT)):
                        if one.exists():
                            archive.add(one, one.name)
                file.flush()
                os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    for old in sorted(target.glob(FOUND), reverse=True)[keep:]:
        old.unlink()
    return path


if __name__ == "__main__":
    sys.exit(main())
