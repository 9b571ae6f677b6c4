"""What a user's server runs first: ``python -m geoloom_hub.user_server ARGUMENTS…``.

Copies the sample notebooks into the home folder, each only once: one that its owner changed or deleted stays
changed or deleted, and one that a newer version brings is added. Then it becomes the server.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import shutil
import sys
from pathlib import Path

from geoloom_hub.apps.launcher import lab_environment

__all__ = ["copy_samples", "limit_memory"]

FOLDER = "geoloom-samples"
"""Where the samples are, in the home folder. Called `geoloom` it would be found for the package itself."""
RECORD = Path(".local/share/geoloom/samples.json")
LAUNCHER = Path(".local/share/geoloom/launcher")
KERNEL_LOOK = "--KernelRestarter.time_to_dead=1"
"""A kernel that died is missed within a second, not three: maps and widgets are dead meanwhile."""
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}

log = logging.getLogger("geoloom_hub")


def main() -> None:
    """Copy the samples, limit the memory, become the server."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    samples = os.environ.get("GEOLOOM_SAMPLES", "")
    try:
        if samples:
            copy_samples(Path(samples), Path.home())
        os.environ.update(lab_environment(Path.home() / LAUNCHER))
    except OSError as error:
        # A full disk must not keep anybody from logging in and making room.
        log.error("The sample notebooks or the launcher's entries could not be written: %s", error)
    limit_memory(os.environ.get("GEOLOOM_PROCESS_MEMORY", ""))
    if os.environ.get("GEOLOOM_PROCESS_NICE", "").isdecimal():
        os.nice(int(os.environ["GEOLOOM_PROCESS_NICE"]))
    program = ["-P", "-m", "geoloom_hub.lean", "jupyterhub.singleuser"]
    command = [sys.executable, *program, KERNEL_LOOK, *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606


def copy_samples(samples: Path, home: Path) -> list[str]:
    """Copy the notebooks that this home folder has never had; gives their names.

    The notebooks' data are not copied but linked to, since they are large and only read.
    """
    record = home / RECORD
    had: set[str] = set()
    with contextlib.suppress(OSError, ValueError):
        had = set(json.loads(record.read_text(encoding="utf-8")))
    new = [path for path in sorted(samples.glob("*.ipynb")) if path.name not in had]
    if not new:
        return []
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    data = folder / "data"
    if (samples / "data").is_dir() and not data.exists():
        data.unlink(missing_ok=True)
        data.symlink_to(samples / "data", target_is_directory=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(sorted(had | {path.name for path in new})), encoding="utf-8")
    return [path.name for path in new]


def limit_memory(most: str) -> None:
    """Limit what each process of this server may take: ``2G``, ``512M``; empty for no limit.

    For machines where nothing else limits users. It counts private memory that can be written, so neither
    mapped files nor the address space that compilers and allocators only reserve.
    """
    text = most.strip().lower().removesuffix("b")
    if not text:
        return
    number, unit = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "")
    try:
        size = int(float(number) * UNITS[unit])
    except (ValueError, KeyError):
        log.error("GEOLOOM_HUB_PROCESS_MEMORY is %r, not a size such as 2G: memory is not limited", most)
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


if __name__ == "__main__":
    main()
