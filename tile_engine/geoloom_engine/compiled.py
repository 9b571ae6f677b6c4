"""Compiled code that an image brings along, put where the engine keeps such code.

A container's own files cannot be written, and numba uses only folders that can. So an image has its compiled
code in a folder apart, and what is there is copied to ``NUMBA_CACHE_DIR`` before anything is compiled: an
engine that would compile for half a minute starts in seconds. Code for another kind of processor is not used
by numba, which then compiles as ever.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

BROUGHT = Path(sys.prefix) / "share" / "geoloom" / "compiled"
"""Where an image has it; see ``hub/images/engine/Dockerfile``."""

log = logging.getLogger("geoloom_engine")


def unpack(environment: Mapping[str, str], brought: Path = BROUGHT) -> int:
    """Copy what was brought to where compiled code is kept, once for each image; the number of files.

    Parameters
    ----------
    environment
        Names the folder: ``NUMBA_CACHE_DIR``. Without it nothing is copied.
    brought
        What to copy.
    """
    target = environment.get("NUMBA_CACHE_DIR", "")
    if not target or not brought.is_dir():
        return 0
    # An index is read before the code that it names, so it comes last.
    files = sorted(
        (path for path in brought.rglob("*") if path.is_file()),
        key=lambda path: (path.suffix == ".nbi", str(path)),
    )
    named = "\n".join(f"{path.relative_to(brought)} {path.stat().st_size}" for path in files)
    mark = Path(target) / f"brought-{hashlib.sha256(named.encode()).hexdigest()[:16]}"
    if not files or mark.exists():
        return 0
    try:
        for path in files:
            place = Path(target) / path.relative_to(brought)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Another engine may do the same at this moment.
            draft = place.with_name(f"{place.name}.{os.getpid()}")
            shutil.copyfile(path, draft)
            draft.replace(place)
        mark.touch()
    except OSError as error:
        log.warning("compiled code cannot be put into %s: %s", target, error.strerror or error)
        return 0
    return len(files)
