"""``make soak``: 200 simulated users while processes are killed; exit status 1 if a claim fails.

Run as ``PYTHONPATH=tests .venv/bin/python -m soak``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from functools import partial
from pathlib import Path

from soak.deployment import Bare
from soak.pictures import Land, write_scenes
from soak.report import command_line, markdown
from soak.storm import Effort, storm
from soak.whole import Whole


def main() -> int:
    """Run what is asked for; 1 if a claim fails."""
    asked = options()
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as name:
        folder = Path(name)
        sources = folder / "scenes"
        sources.mkdir()
        say("writing scenes")
        write_scenes(sources)
        land = Land(sources, (10, asked.zoom))
        effort = Effort(asked.users, asked.rounds, asked.gap, asked.pause, asked.kinds)
        deploy = Bare if asked.bare else partial(Whole, users=asked.users)
        result = asyncio.run(storm(deploy, folder, land, effort, say))
    page = markdown(result, asked.limit, command_line(sys.argv[1:]))
    if asked.out is not None:
        asked.out.write_text(page)
    say(page)
    wrong = [*result.ledger.claims(asked.limit)]
    for claim in wrong:
        say(f"FAILED: {claim}")
    return 1 if wrong else 0


def options() -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=200, help="simulated users")
    parser.add_argument("--rounds", type=int, default=2, help="how often one of each kind is killed")
    parser.add_argument("--gap", type=float, default=3.0, help="seconds of quiet before each kill")
    parser.add_argument("--pause", type=float, default=30.0, help="seconds a user looks at a view")
    parser.add_argument("--zoom", type=int, default=12, help="the largest zoom that is looked at")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds until all is served again, at most")
    parser.add_argument("--bare", action="store_true", help="an engine and its stores, without a hub")
    parser.add_argument("--kinds", type=lambda text: text.split(","), help="what is killed")
    parser.add_argument("--out", type=Path, help="page to write")
    return parser.parse_args()


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
