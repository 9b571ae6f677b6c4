"""What is written into ``docs/reliability.md``."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import psutil

from geoloom._version import __version__
from soak.ledger import Ledger, Window
from soak.storm import Result

HEAD = """# Reliability

What many people at once meet while the processes that serve them are killed one by one. `make soak`
measures it and writes this page; it ends with an error if one of the promises is broken.

**What is done.** Everything that `make hub` starts runs on one machine: hub, proxy, engine with two
workers, the two stores, one user's notebook server with a kernel. {users} simulated users, each with a
token of their own, register layers, renew their rights, listen to their events, and pan and zoom over
views of twenty tiles, on six connections at most, as a browser does: what it has it keeps, some of that
it asks for again (`If-None-Match`), some views are left before they are there, and what fails is asked
for again. Some layers are new to everybody, so that tiles are computed all the time; each user's right
to a layer ends after a minute and has to be renewed. Meanwhile one process after the other gets
SIGKILL.

**What is promised, and checked.**

- *No wrong tile.* A quiet engine without any cache of others computes all tiles beforehand; each
  answer, and each "not modified", is compared with those, pixel by pixel.
- *No lost chain.* Whatever was acknowledged to a kernel is in the store after the store was killed, and
  what was saved is there for good.
- *Everything is served again within {limit:g} seconds*: a known layer's tile, a new layer with its
  tile, a user's function, and with the hub its login page, a user's server and kernel are asked for ten
  times a second all the while. Back is what answers right, within two seconds, and keeps doing so.
- *Nothing hangs or is left behind*: each tile comes within a minute, no process stays that should have
  ended, no connection stays open.

"""

KNOWN = """## What people notice

- *A kernel* that speaks to an engine which is away, or whose store is, waits up to 8 s for it; a cell that
  is run then takes longer and does not fail. Polls for events go on over a restart of the store.
- *A map* asks for all its tiles again when its kernel has found the engine again, and within three seconds
  when one of the engine's processes died. A tile that was under way in the proxy fails in the browser, which
  does not ask again by itself: it comes when the map is moved.
- *While the hub is away* the engine takes its word of the last hour, which all workers share; only tokens
  that it has never seen are refused until the hub is back. Layers on maps go on: their rights need no hub.
- *A user's function* whose process is killed is tried once more; what ends that way twice is told.
"""

WORDS = {
    "engine worker": "one of the engine's two processes; the other goes on",
    "sandboxed function": "a user's function, in the middle of its work",
    "sandbox": "the process that those of functions are forked from; they end with it",
    "Valkey tiles": "the store of finished tiles, which forgets all",
    "Valkey chains": "the store of chains and events",
    "engine": "the engine's first process; its workers end with it",
    "proxy": "what browsers speak to; it knows no routes at first",
    "hub": "JupyterHub; users' servers go on",
    "user's kernel": "a notebook's kernel; its server starts it again",
}


def markdown(result: Result, limit: float, command: str) -> str:
    """The page."""
    ledger, effort = result.ledger, result.effort
    broken = [*ledger.claims(limit)]
    lines = [HEAD.format(users=effort.users, limit=limit)]
    lines += ["## What was measured", "", *_about(result, command), ""]
    lines += [f"**Broken: {claim}.**\n" for claim in broken] or ["All promises were kept.", ""]
    lines += [
        "## Back after",
        "",
        *_faults(ledger),
        "",
        AFTER,
        "## Errors that users met",
        "",
        *_errors(ledger),
        "",
    ]
    lines += [
        "## What was served",
        "",
        *_served(ledger),
        "",
        "## What the processes took",
        "",
        *_used(result),
        "",
    ]
    lines.append(KNOWN.rstrip())
    return "\n".join(lines) + "\n"


AFTER = """*Back* is the longest time of all rounds from the kill until every question was answered right
again. *Of its own* is what it comes to on a machine that runs nothing else, for this one was shared: until
the new process was started, and from then on the processor time that was used, by the longest chain of
processes or by all on the machine's cores, whichever is more. What is promised is compared with this.
*Last error* is when the last user met an error, *slowest tile* the longest that any user waited for one
meanwhile.
"""


def _about(result: Result, command: str) -> Iterable[str]:
    ledger, effort = result.ledger, result.effort
    python, memory = platform.python_version(), psutil.virtual_memory().total >> 30
    tiles, chains, saved = len(ledger.waits), len(ledger.chains), len(ledger.saved)
    kills, second = len(ledger.windows) - 1, tiles / max(1.0, result.seconds)
    yield f"- {datetime.now(UTC):%d %B %Y}, Geoloom {__version__}, Python {python}; `{command}`."
    yield f"- {psutil.cpu_count()} cores and {memory} GB, shared with other work: during the run the load"
    yield f"  average was {result.load[0]:.1f} to {result.load[1]:.1f}. The users took {result.processor:.2f}"
    yield "  of a core."
    yield f"- {effort.users} users for {result.seconds:.0f} s, {kills} kills; {tiles:,} tiles shown,"
    yield f"  {second:.0f} a second, of {result.tiles:,} different ones whose right pixels were known;"
    yield f"  {chains:,} chains registered, {saved:,} saved."


def _faults(ledger: Ledger) -> Iterable[str]:
    yield "| killed | times | back | of its own | last error | slowest tile | chains lost | errors |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for kind, windows in ledger.by_kind().items():
        errors = sum(sum(window.errors.values()) for window in windows)
        cells = [
            f"**{kind}**: {WORDS.get(kind, '')}",
            len(windows),
            _longest(windows, "back"),
            _longest(windows, "own"),
            f"{max(window.felt for window in windows):.1f} s",
            f"{max(window.slowest for window in windows):.1f} s",
            sum(window.lost for window in windows),
            errors,
        ]
        yield f"| {' | '.join(map(str, cells))} |"


def _longest(windows: Sequence[Window], what: str) -> str:
    found = [getattr(window, what) for window in windows]
    return "never" if None in found else f"{max(found):.1f} s"


def _errors(ledger: Ledger) -> Iterable[str]:
    kinds = sorted(ledger.errors, key=lambda one: -ledger.errors[one])
    if not kinds:
        yield "None."
        return
    faults = ledger.by_kind()
    yield f"| error | in all | {' | '.join(faults)} |"
    yield f"|---|--:|{'--:|' * len(faults)}"
    for kind in kinds:
        counts = [sum(window.errors[kind] for window in windows) for windows in faults.values()]
        yield f"| {kind} | {ledger.errors[kind]} | {' | '.join(str(count or '') for count in counts)} |"


def _served(ledger: Ledger) -> Iterable[str]:
    waits = ", ".join(f"p{share * 100:g} {ledger.wait(share):.2f} s" for share in (0.5, 0.95, 0.99))
    yield f"Tiles were there after {waits}, errors and all that came after them included."
    yield ""
    yield "| what | how many |"
    yield "|---|--:|"
    for what, count in sorted(ledger.answers.items()):
        if not what.startswith("probe"):
            yield f"| {what} | {count:,} |"


def _used(result: Result) -> Iterable[str]:
    yield "| process | open files before, after | threads before, after | MB before, after |"
    yield "|---|--:|--:|--:|"
    for name, (before, after) in result.used.items():
        cells = [f"{one} → {other}" for one, other in zip(before, after, strict=True)]
        yield f"| {name} | {' | '.join(cells)} |"


def command_line(arguments: Sequence[str]) -> str:
    """What was typed."""
    return os.environ.get("SOAK_COMMAND") or " ".join(["python -m soak", *arguments])
