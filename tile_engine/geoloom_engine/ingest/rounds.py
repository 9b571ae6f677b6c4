"""One round of an ingest: find, compare with what is known, look into what is new, write, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from geoloom.runtime_folder import hold, let_go
from geoloom_engine.ingest import naming, summary
from geoloom_engine.ingest.finding import Found, find, root_of
from geoloom_engine.ingest.jobs import Outcome, Treatment
from geoloom_engine.ingest.optimise import supersede, sweep
from geoloom_engine.ingest.options import Options
from geoloom_engine.ingest.parts import Change, Parts
from geoloom_engine.ingest.pattern import Parts as Named
from geoloom_engine.ingest.plan import Planner
from geoloom_engine.ingest.progress import Progress
from geoloom_engine.ingest.scratch import Candidate, Scratch
from geoloom_engine.ingest.workers import Workers

FLUSH_ITEMS = 500
FLUSH_SECONDS = 15.0
"""What is not yet written after so many items or seconds is: so much has to be done again after an end."""

DESCRIBE_SECONDS = 60.0
"""How often a growing collection is described."""

MANY_PARTS = 8
"""Small parts that are joined."""


class Choice:
    """Which files are left for later; by default none. A watch has its own."""

    def waits(self, one: Candidate) -> bool:
        """Whether the whole scene of this file is left for the next round."""
        return False

    def leaves(self, one: Candidate) -> bool:
        """Whether this file is left out for now."""
        return False

    def failed(self, href: str, reason: str) -> bool:
        """Told of a file that cannot be used; whether to say it."""
        return True


@dataclass(slots=True)
class Result:
    """What a round did, in files, if not said otherwise."""

    used: int = 0
    unchanged: int = 0
    failed: int = 0
    items: int = 0
    dropped: int = 0
    total: int = 0
    dateless: int = 0
    before: int = 0
    after: int = 0
    stopped: bool = False
    sources_failed: list[str] = field(default_factory=list)


class Round:
    """One round.

    Parameters
    ----------
    options
        As asked for.
    progress
        Is told what happens.
    stop
        Set from outside to end early; what was done by then is written.
    scratch
        Empty, or as the round before left it.
    choice
        Which files to leave.
    """

    def __init__(
        self, options: Options, progress: Progress, stop: Event, scratch: Scratch, choice: Choice
    ) -> None:
        self._options = options
        self._progress = progress
        self._stop = stop
        self._scratch = scratch
        self._choice = choice
        self._result = Result()
        self._unlisted: list[str] = []
        self._growing = summary.Summary()
        self._described = time.monotonic()
        # What an ingest wrote is no source, also where the catalogue lies in the folder that is searched.
        folders = [options.folder] if options.optimise is None else [options.folder, options.optimise]
        self._own = tuple(f"{folder}/" for folder in folders)

    def run(self) -> Result:
        """Do it.

        Raises
        ------
        OSError
            If the collection's folder cannot be written to or holds something else.
        """
        options = self._options
        try:
            options.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"{options.folder} cannot be made: {error.strerror}.") from None
        scratch = self._scratch
        with _alone(options, self._progress, self._stop):
            if self._stop.is_set():
                self._result.stopped = True
                return self._result
            scratch.begin()
            new = not summary.read(options.folder)
            if new:
                self._describe(summary.Summary())
            parts = Parts(options.folder / "items")
            if options.optimise is not None:
                sweep(options.optimise)
            self._read(parts, scratch)
            if not self._stop.is_set() and parts.drop_twice(scratch):
                self._read(parts, scratch)
            scratch.add_found(self._until_stopped(self._found()))
            if self._stop.is_set():
                self._result.stopped = True
                return self._result
            self._growing = self._summarise(scratch)
            self._take_in(scratch, parts)
            if options.prune and not self._stop.is_set():
                self._prune(scratch, parts)
            if len(parts.names()) > MANY_PARTS:
                parts.compact()
            for _ in parts.read(scratch):
                pass
            found = self._summarise(scratch)
            self._result.total = found.count
            self._describe(found)
            if new and not found.count and not options.watch:
                # A source that was misspelt leaves no collection behind.
                (options.folder / summary.NAME).unlink(missing_ok=True)
        self._result.stopped = self._stop.is_set()
        return self._result

    def _read(self, parts: Parts, scratch: Scratch) -> None:
        """Read what the collection holds, as far as it is not known."""
        for _ in self._until_stopped(parts.read(scratch)):
            self._progress.state("Reading what the collection holds …")

    def _until_stopped[T](self, each: Iterator[T]) -> Iterator[T]:
        for one in each:
            if self._stop.is_set():
                return
            yield one

    def _found(self) -> Iterator[tuple[Found, Named]]:
        """Everything in the sources with what its name says."""
        count = 0
        for source in self._options.sources:
            try:
                for one in find(source, self._fail_folder):
                    named = self._read_name(one)
                    if named is not None:
                        count += 1
                        yield one, named
                    if count % 256 == 0:
                        self._progress.state(f"{count:,} files found …")
            except OSError as error:
                self._result.sources_failed.append(source)
                self._fail(source, str(error))

    def _read_name(self, one: Found) -> Named | None:
        if one.href.startswith(self._own):
            return None
        try:
            one.href.encode()
        except UnicodeEncodeError:
            self._fail(one.href, "its name is no text in UTF-8; rename it")
            return None
        if self._options.pattern is None:
            return naming.guess(one.path)
        named = self._options.pattern.match(one.path)
        if named is None:
            self._fail(one.href, "its name is not of the pattern")
        return named

    def _take_in(self, scratch: Scratch, parts: Parts) -> None:
        options = self._options
        total, result = scratch.files(), self._result

        def go_on() -> bool:
            self._progress.state(
                f"{planner.seen:,} of {total:,} files: {result.used:,} used, "
                f"{planner.unchanged:,} unchanged, {result.failed:,} not usable"
            )
            return not self._stop.is_set()

        by_pattern, optimise = options.pattern is not None, options.optimise is not None
        planner = Planner(scratch, by_pattern, optimise, self._fail, go_on)
        treatment = Treatment(
            options.collection, options.nodata, None if options.optimise is None else str(options.optimise)
        )
        workers = Workers(options.jobs, treatment, options.file_timeout)
        waiting: list[Outcome] = []
        written = time.monotonic()
        try:
            for outcome in workers.run(planner.jobs(self._choice.waits, self._choice.leaves)):
                if outcome is not None:
                    waiting.append(outcome)
                    self._account(outcome)
                made = sum(len(one.items) for one in waiting)
                if made >= FLUSH_ITEMS or (made and time.monotonic() - written > FLUSH_SECONDS):
                    self._write(waiting, scratch, parts)
                    waiting, written = [], time.monotonic()
                if not go_on():
                    break
        finally:
            workers.close()
            self._write(waiting, scratch, parts)
        self._result.unchanged = planner.unchanged

    def _account(self, outcome: Outcome) -> None:
        result = self._result
        result.used += len(outcome.job.files) - len({href for href, _ in outcome.problems})
        result.items += len(outcome.items)
        result.dateless += sum(item["properties"].get("datetime") is None for item in outcome.items)
        result.before += sum(before for before, _ in outcome.optimised)
        result.after += sum(after for _, after in outcome.optimised)
        for href, reason in outcome.problems:
            self._fail(href, reason)

    def _write(self, outcomes: list[Outcome], scratch: Scratch, parts: Parts) -> None:
        """Write items, each in the place of those that held its files."""
        changes = []
        for outcome in outcomes:
            if not outcome.items:
                continue
            instead: dict[str, set[str]] = {}
            items = {item["id"] for item in outcome.items}
            for file in outcome.job.files:
                items |= {entry.item for entry in scratch.known_of(file.href)}
            for item in items:
                for name in scratch.parts_of(item):
                    instead.setdefault(name, set()).add(item)
            changes.append(Change(outcome.items, instead))
        if changes:
            self._describe_so_far(changes)
            parts.put(changes, lambda file: not scratch.found(file) and not self._gone(file))
        if self._options.optimise is not None:
            for asset in (
                asset for one in changes for item in one.items for asset in item["assets"].values()
            ):
                if asset.get("geoloom:origin"):
                    supersede(Path(asset["href"]))

    def _describe_so_far(self, changes: list[Change]) -> None:
        """Let a collection that takes hours be seen while it grows; at the end it is described exactly."""
        for item in (item for change in changes for item in change.items):
            self._growing.add(item)
        if time.monotonic() - self._described > DESCRIBE_SECONDS:
            self._described = time.monotonic()
            self._describe(self._growing)

    def _gone(self, file: str) -> bool:
        """Whether a file that was not found is to be dropped: it should have been, and was asked to."""
        if not self._options.prune or any(file.startswith(folder) for folder in self._unlisted):
            return False
        failed = self._result.sources_failed
        return any(
            (root := root_of(source)) and source not in failed and file.startswith(root)
            for source in self._options.sources
        )

    def _prune(self, scratch: Scratch, parts: Parts) -> None:
        if scratch.files() == 0:
            self._progress.say("Nothing was found in the sources, so nothing is dropped.")
            return
        by_part: dict[str, set[str]] = {}
        for name, file in scratch.vanished():
            if self._gone(file):
                by_part.setdefault(name, set()).add(file)
        for name, files in by_part.items():
            if parts.path(name).exists():
                self._result.dropped += parts.drop_files(name, files)

    def _summarise(self, scratch: Scratch) -> summary.Summary:
        found = summary.Summary()
        for text in scratch.summaries():
            found.join(text)
        return found

    def _describe(self, found: summary.Summary) -> None:
        options = self._options
        # As it is now: somebody may have written into it meanwhile.
        old = summary.read(options.folder)
        summary.write(
            options.folder, found.to_json(old, options.collection, options.title, options.description)
        )

    def _fail_folder(self, name: str, reason: str) -> None:
        self._unlisted.append(name)
        self._fail(name, reason)

    def _fail(self, name: str, reason: str) -> None:
        self._result.failed += 1
        if self._choice.failed(name, reason):
            self._progress.problem(name, reason)


@contextlib.contextmanager
def _alone(options: Options, progress: Progress, stop: Event) -> Iterator[None]:
    """Wait until no other process takes files into this collection."""
    path: Path = options.folder / ".lock"
    said = False
    while True:
        try:
            descriptor = hold(path, time.monotonic() + 0.5)
            break
        except TimeoutError:
            if not said:
                progress.say(
                    f"Another ingest of {options.collection} is running; this one waits until it ends."
                )
                said = True
            if stop.is_set():
                yield
                return
    try:
        yield
    finally:
        let_go(descriptor)
