"""``python -m geoloom_engine.embedded``: the supervisor, started by `geoloom.local`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from geoloom_engine.embedded.child import StartError
from geoloom_engine.embedded.supervisor import Supervisor, try_lock

LINGER_SECONDS = 60.0

log = logging.getLogger("geoloom.embedded")


def main() -> None:
    """Become the supervisor, detached from whoever started it, unless there is one already."""
    parser = argparse.ArgumentParser(description="Supervises the embedded engine; started by geoloom.local.")
    parser.add_argument("--runtime", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--linger", type=float, default=LINGER_SECONDS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    own = os.open(options.runtime / "supervisor", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 0.5
    while not try_lock(own):
        # Kernels look at the lock for an instant at a time; a supervisor holds it.
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
    # Kernels that see the lock must not take a killed supervisor's engine for this one's.
    (options.runtime / "engine.json").unlink(missing_ok=True)
    if os.fork():
        os._exit(0)
    os.setsid()
    try:
        Supervisor(options.runtime, options.data, options.linger).run()
    except StartError as error:
        log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
