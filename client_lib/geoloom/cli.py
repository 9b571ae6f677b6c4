"""``geoloom``: commands for the terminal.

Each command belongs to the engine and runs in its place, as a process of its own; `geoloom` imports
nothing of it. A further command is one line in `COMMANDS`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from geoloom._version import __version__

__all__ = ["COMMANDS", "Command", "main"]

WRONG_USE = 2
"""Exit status where nothing was started."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Parameters
    ----------
    module
        Run with ``python -m``; takes the arguments that follow the command's name.
    about
        What it does, in one line.
    """

    module: str
    about: str


COMMANDS = {
    "ingest": Command("geoloom_engine.ingest", "make a collection of files, or bring one up to date"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0 if given else WRONG_USE
    if given[0] == "--version":
        sys.stdout.write(f"geoloom {__version__}\n")
        return 0
    command = COMMANDS.get(given[0])
    if command is None:
        sys.stderr.write(f"geoloom: there is no command {given[0]!r}.\n{_usage()}")
        return WRONG_USE
    package = command.module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        sys.stderr.write(
            f"geoloom {given[0]}: the tile engine is not installed in this Python environment. "
            "Install it with: pip install 'geoloom[engine]'\n"
        )
        return WRONG_USE
    # Without the current folder in the path: a file there must not stand in for a module.
    process = [sys.executable, "-P", "-m", command.module, *given[1:]]
    if os.name == "posix":
        # In place of this process: signals and exit status need nobody to pass them on.
        sys.stdout.flush()
        os.execv(sys.executable, process)  # noqa: S606
    return subprocess.call(process)


def _usage() -> str:
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name.ljust(width)}  {command.about}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: geoloom COMMAND …", "", *lines, "", "geoloom COMMAND --help tells more.", ""])


if __name__ == "__main__":
    sys.exit(main())
