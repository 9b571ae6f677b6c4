"""``make bench``: the engine beside TiTiler, every case in turn, pixels compared before anything is timed.

Run as ``PYTHONPATH=tests .venv/bin/python -m bench``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import further, servers
from bench.cases import CASES
from bench.contest import Effort, run, show
from bench.measure import Failed
from bench.report import Report, about

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-bench"


def main() -> int:
    """Run what is asked for; 1 if the pictures differ or a server fails."""
    asked = options()
    data, titiler = asked.data.absolute(), asked.titiler.absolute()
    make_scenes(data, titiler, asked.size)
    effort = Effort(data, asked.rounds, asked.tiles, asked.repeats)
    command = os.environ.get("BENCH_COMMAND") or shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    report = Report(about(command, titiler, rounds=effort.rounds, tiles=f"{effort.tiles} of each case"))
    try:
        if asked.cases:
            run_cases(asked.cases, titiler, effort, report)
        for finding in further.run(asked.further, titiler, effort):
            report.findings.append(finding)
            print(
                f"{finding.what}: {finding.shown} {finding.target} {finding.verdict} {finding.note}",
                flush=True,
            )
    except Failed as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    if asked.out is not None:
        asked.out.write_text(report.markdown())
        asked.out.with_suffix(".json").write_text(report.to_json())
    print(f"\n{report.markdown()}")
    print("short of their target:", ", ".join(report.misses()) or "none")
    return 0


def run_cases(names: Sequence[str], titiler: Path, effort: Effort, report: Report) -> None:
    """Add the rows of some cases to a report."""
    with ExitStack() as stack:
        peer = stack.enter_context(servers.titiler(titiler))
        warm, cold, cached = (
            stack.enter_context(servers.engine(f"engine {name}", settings, effort.data))
            for name, settings in (
                ("warm", servers.WARM),
                ("cold", servers.COLD),
                ("cached", servers.AS_IT_COMES),
            )
        )
        report.about["scene"] = "{width} × {height} pixels".format_map(
            warm.known.info(str(effort.data / "S1" / "B08.tif"))
        )
        for case in CASES:
            if case.name in names:
                engines = {"warm": cached} if case.area == "same" else {"warm": warm, "cold": cold}
                report.rows.append(run(case, peer, engines, effort))
                show(report.rows[-1])


def options() -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    cases = [case.name for case in CASES]
    measures = list(further.NAMES)
    parser.add_argument("--titiler", type=Path, default=VENV, help="TiTiler's virtual environment")
    parser.add_argument("--data", type=Path, default=VENV / "data", help="where the scenes are, or are made")
    parser.add_argument(
        "--size", type=int, default=0, help="pixels a side of scenes to be made; 0: what memory holds"
    )
    parser.add_argument("--cases", help=f"some of {','.join(cases)}, or none")
    parser.add_argument("--further", help=f"some of {','.join(measures)}, or none")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server; medians are quoted")
    parser.add_argument("--tiles", type=int, default=200, help="different tiles of a case")
    parser.add_argument(
        "--repeats", type=int, default=4, help="how often a warm engine serves each in a turn"
    )
    parser.add_argument("--out", type=Path, help="page to write, with a JSON file beside it")
    asked = parser.parse_args()
    for name, known in (("cases", cases), ("further", measures)):
        chosen = getattr(asked, name)
        listed = known if chosen is None else [one for one in chosen.split(",") if one not in ("", "none")]
        if unknown := set(listed) - set(known):
            parser.error(f"there is no {', '.join(unknown)} in {','.join(known)}")
        setattr(asked, name, listed)
    return asked


def make_scenes(folder: Path, titiler: Path, size: int) -> None:
    """Make the scenes unless they are there."""
    if not (folder / "S2" / "stack4.tif").exists():
        script = Path(__file__).with_name("make_scenes.py")
        subprocess.run([titiler / "bin" / "python", script, folder, "--size", str(size)], check=True)


if __name__ == "__main__":
    sys.exit(main())
