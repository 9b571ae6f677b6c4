"""What is to be done: which scenes are new or changed, and what each file of a scene is called in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from geoloom.address import Address
from geoloom.errors import GeoloomError
from geoloom_engine.ingest.cubes import is_cube
from geoloom_engine.ingest.finding import Tell, is_url
from geoloom_engine.ingest.items import ANYWHERE, MARK_DIGITS, updated
from geoloom_engine.ingest.jobs import File, Job
from geoloom_engine.ingest.naming import scene_name
from geoloom_engine.ingest.scratch import Candidate, Known, Scratch
from geoloom_engine.readers import SourcePool

ASKING = 16
"""Servers' answers that are waited for at once."""


class Planner:
    """Goes through the scenes that were found.

    Parameters
    ----------
    scratch
        With everything in it.
    by_pattern
        Whether the person said what names mean: then equal scenes are one, wherever their files lie.
    optimise
        Whether items should point to optimised files.
    tell
        Told of files that cannot be used.
    go_on
        Asked before each scene whether to.
    """

    def __init__(
        self, scratch: Scratch, by_pattern: bool, optimise: bool, tell: Tell, go_on: Callable[[], bool]
    ) -> None:
        self._scratch = scratch
        self._by_pattern = by_pattern
        self._optimise = optimise
        self._tell = tell
        self._go_on = go_on
        self._pool = SourcePool(ANYWHERE, max_open=1, recheck=0.0, read_timeout=60.0, read_retries=4)
        self.unchanged = 0
        self.seen = 0

    def jobs(self, waits: Callable[[Candidate], bool], leaves: Callable[[Candidate], bool]) -> Iterator[Job]:
        """The scenes to look into.

        Parameters
        ----------
        waits
            Whether the whole scene of a file is for another time.
        leaves
            Whether a file is to be left out.
        """
        with ThreadPoolExecutor(ASKING) as threads:
            for scene, candidates in self._scratch.scenes():
                if not self._go_on():
                    return
                self.seen += len(candidates)
                files = self._named([one for one in candidates if not leaves(one)])
                if not files or any(waits(one) for one, _ in files):
                    continue
                known = {one.href: self._scratch.known_of(one.href) for one, _ in files}
                each = threads.map if any(is_url(one.href) for one, _ in files) else map
                same = list(each(self._same, (one for one, _ in files), known.values()))
                if all(same) and self._together(known):
                    self.unchanged += len(files)
                    continue
                yield self._job(scene, files, known)

    def _named(self, candidates: list[Candidate]) -> list[tuple[Candidate, str | None]]:
        """The files of a scene with the names of their assets, each name once."""
        taken: dict[str | None, str] = {}
        named: list[tuple[Candidate, str | None]] = []
        for one in sorted(candidates, key=lambda one: (one.parts.finer, one.href)):
            name = one.parts.band
            if name in taken and one.parts.finer:
                # The finest of several resolutions has the band's name.
                name = f"{name}_{one.parts.finer}m"
            if name in taken:
                what = f"the band {name} of one scene" if name else "one scene"
                self._tell(
                    one.href,
                    f"its name says {what}, as does that of {taken[name]}; tell them apart with --pattern",
                )
                continue
            taken[name] = one.href
            named.append((one, name))
        return named

    def _same(self, one: Candidate, known: list[Known]) -> bool:
        """Whether a file is in the collection as it is now."""
        if not known:
            return False
        if self._optimise and not is_cube(one.href) and not all(entry.optimised for entry in known):
            return False
        first = known[0]
        if is_url(one.href) and one.changed is not None and first.updated is not None:
            # The listing has told; asking for each of a million objects would take hours.
            return first.updated == updated(one.changed) and first.size in (None, one.size)
        try:
            return self._pool.fingerprint(one.href)[:MARK_DIGITS] == first.mark
        except GeoloomError:
            # What is wrong with it is said when it is looked into.
            return False

    def _together(self, known: dict[str, list[Known]]) -> bool:
        """Whether the files of a scene are in the same items."""
        items = [{entry.item for entry in entries} for entries in known.values()]
        return all(one == items[0] for one in items)

    def _job(
        self, scene: str, files: list[tuple[Candidate, str | None]], known: dict[str, list[Known]]
    ) -> Job:
        first = files[0][0].parts
        properties: dict[str, str | int] = {}
        for one, _ in reversed(files):
            properties |= one.parts.properties
        moment = next((one.parts.moment for one, _ in files if one.parts.moment), first.moment)
        id_ = self._id(scene, {one.href for one, _ in files}, known)
        jobs = tuple(File(one.href, name, one.size, one.changed) for one, name in files)
        return Job(scene, id_, jobs, moment, properties)

    def _id(self, scene: str, files: set[str], known: dict[str, list[Known]]) -> str:
        """An id that no other scene has, and the same one in each run."""
        wanted = scene if self._by_pattern else scene_name(scene)
        if self._by_pattern:
            return wanted
        folder = min(files).rpartition("/")[0]
        longer = f"{wanted}-{hashlib.sha256(f'{folder}/{scene_name(scene)}'.encode()).hexdigest()[:6]}"
        own = {entry.item for entries in known.values() for entry in entries}
        if longer in own:
            return longer
        others = self._scratch.files_of(wanted)
        if others and not others & files:
            return longer
        return wanted if self._scratch.name(wanted, scene) else longer


def file_of(href: str) -> str:
    """The file that an address of an asset lies in."""
    return Address.parse(href).href
