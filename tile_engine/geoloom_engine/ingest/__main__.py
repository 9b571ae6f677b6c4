"""``python -m geoloom_engine.ingest``: what ``geoloom ingest`` starts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from threading import Event
from types import FrameType

from geoloom.errors import GeoloomError
from geoloom_engine.ingest.options import Options, parse
from geoloom_engine.ingest.progress import Progress
from geoloom_engine.ingest.rounds import Choice, Result, Round
from geoloom_engine.ingest.scratch import Scratch
from geoloom_engine.ingest.summary import NAME
from geoloom_engine.ingest.watching import watch

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends an ingest in good order."""

NOTHING_USABLE = 1
"""Exit status where no file could be used."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an ingest; the exit status."""
    options = parse(arguments)
    stop = Event()
    signals: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        stop.set()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        # What is ignored stays so, as under nohup.
        signal.signal(number, signal.SIG_IGN if handler is signal.SIG_IGN else end)
    progress = Progress()
    try:
        with Scratch() as scratch:
            if options.watch:
                return watch(options, progress, stop, scratch)
            result = Round(options, progress, stop, scratch, Choice()).run()
    except (OSError, GeoloomError) as error:
        print(f"geoloom ingest: {sentence(error)}", file=sys.stderr)
        return NOTHING_USABLE
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    report(options, result, progress)
    if result.stopped:
        return 128 + signals[0] if signals else NOTHING_USABLE
    return 0 if result.used or result.unchanged else NOTHING_USABLE


def sentence(error: Exception) -> str:
    """What is wrong, in words: of what the system says, too."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the collection'}: {error.strerror}."
    return str(error)


def report(options: Options, result: Result, progress: Progress) -> None:
    """Say what was done."""
    if result.stopped:
        progress.say("Stopped before the end; the same command goes on from here.")
    if not (result.used or result.unchanged or result.failed):
        progress.say(f"No GeoTIFF, netCDF or Zarr file was found in {', '.join(options.sources)}.")
    items = f" in {result.items:,} items" if result.items else ""
    progress.say(
        f"{options.collection}: {result.used:,} files used{items}, {result.unchanged:,} unchanged, "
        f"{result.failed:,} could not be used; {result.total:,} items in all."
    )
    for line in progress.summary():
        progress.say(line)
    if result.dropped:
        progress.say(f"{result.dropped:,} items were dropped: their files are not there any more.")
    if result.dateless:
        progress.say(
            f"{result.dateless:,} items have no date: none is in the names or in the files. "
            "Say with --pattern where it stands; filters by date leave them out."
        )
    if result.before and result.after:
        progress.say(
            f"Optimised: {result.before / 1e6:,.1f} MB became {result.after / 1e6:,.1f} MB with overviews."
        )
    if (options.folder / NAME).exists():
        progress.say(f"It lies in {options.folder}.")
    else:
        progress.say("No collection was made.")


if __name__ == "__main__":
    sys.exit(main())
