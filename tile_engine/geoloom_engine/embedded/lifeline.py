"""Ties the embedded engine's life to its supervisor's: ``python -m geoloom_engine.embedded.lifeline``.

The supervisor holds the only writing end of a pipe. Each engine process, those it forks included, has a
thread that reads from it: end of file means that the supervisor is gone, killed perhaps with no chance to
clean up. Workers then end; the engine's first process becomes a new supervisor, which starts the engine
again for kernels that still hold a lease, or removes what was left.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 2.0
"""How long a worker may take to end by itself."""


def hold(descriptor: int, successor: list[str], added: list[str]) -> None:
    """Watch the lifeline in this process and all that it forks.

    Parameters
    ----------
    descriptor
        Reading end of the pipe.
    successor
        Arguments of Python with which this very process becomes a new supervisor.
    added
        Environment variables the old supervisor set, which the new one must not take for the user's.
    """
    os.set_inheritable(descriptor, False)
    first = os.getpid()

    def watch() -> None:
        os.read(descriptor, 1)
        if os.getpid() == first:
            for name in added:
                os.environ.pop(name, None)
            os.execv(sys.executable, [sys.executable, *successor])  # noqa: S606
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    def start() -> None:
        threading.Thread(target=watch, name="lifeline", daemon=True).start()

    os.register_at_fork(after_in_child=start)
    start()


def main() -> None:
    """Read ``LIFELINE CLAIM ADDED SUCCESSOR… -- MODULE ARGUMENTS…`` and run the module as a program."""
    lifeline, claim, added, *rest = sys.argv[1:]
    split = rest.index("--")
    # The claim on the data folder is kept open by this process and its forks, and by nothing they execute.
    os.set_inheritable(int(claim), False)
    hold(int(lifeline), rest[:split], added.split(","))
    module = rest[split + 1]
    sys.argv[:] = rest[split + 1 :]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
