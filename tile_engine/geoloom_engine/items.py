"""The pixels of one item of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from geoloom.address import Address
from geoloom.block import Block
from geoloom.errors import (
    DemandError,
    GeoloomError,
    SourceChanged,
    SourceError,
    SourceNotFound,
    SourceUnreadable,
)
from geoloom.grid import Grid
from geoloom.selection import Asset, Item, Selection
from geoloom_engine.promised import promised
from geoloom_engine.readers import SourcePool
from geoloom_engine.readers.access import short_name
from geoloom_engine.steps import ItemRead
from geoloom_engine.unwanted import Unwanted
from geoloom_engine.warp import Limits, demand, warp

if TYPE_CHECKING:
    from collections.abc import Callable

    from geoloom_engine.gathering import Gathering

AHEAD = 8
"""Items of remote collections whose pixels are on their way at one time."""

SETTLED = 600.0
"""Seconds for which files of other machines are taken as they were: archives do not change their scenes by
the minute, and a mosaic of a hundred would ask for each of them every few seconds."""

Pixels = dict[int, Block]
"""The blocks of one item, by the step that reads them."""


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """An item that could not be read, and why."""

    item: str
    error: GeoloomError


@dataclass(slots=True)
class Tally:
    """What became of the items of one reduction.

    Parameters
    ----------
    read
        How many were read, those counted again that several strips need.
    failed
        What is wrong with the others, by their ids.
    """

    read: int = 0
    failed: dict[str, ItemFailure] = field(default_factory=dict)

    def check(self) -> None:
        """Raise the reason of the first item if not one could be read."""
        if self.failed and not self.read:
            raise _all_failed(list(self.failed.values()))


@dataclass(slots=True)
class ItemReader:
    """Reads items of collections for one evaluation.

    Parameters
    ----------
    pool, limits
        Opens files; what one read may demand.
    executor
        Threads in which items of other machines are read side by side.
    wanted
        Whether to go on. Where it has a method ``aside``, waiting for other machines is handed to that.
    failures
        Takes the items that cannot be read: the others still show.
    """

    pool: SourcePool
    limits: Limits
    executor: Executor | None
    wanted: Callable[[], bool]
    failures: list[ItemFailure] = field(default_factory=list)

    def blocks(self, gathering: Gathering, tally: Tally, rows: Iterable[int]) -> Iterator[tuple[int, Pixels]]:
        """Row and pixels of some of a gathering's items, in their order; not of those that cannot be read.

        Those are noted at once: who is given enough does not ask for the rest. Rows are asked for as they are
        needed.

        Raises
        ------
        Unwanted
            If `wanted` says no.
        """
        for row, outcome in self.outcomes(gathering, rows):
            if not isinstance(outcome, GeoloomError):
                tally.read += 1
                yield row, outcome
                continue
            failure = ItemFailure(gathering.selection.ids[row], outcome)
            tally.failed.setdefault(failure.item, failure)
            if all(known.item != failure.item for known in self.failures):
                self.failures.append(failure)

    def outcomes(
        self, gathering: Gathering, rows: Iterable[int] | None = None
    ) -> Iterator[tuple[int, Pixels | GeoloomError]]:
        """Of all or some of a gathering's items the row in its selection, and pixels or what is wrong."""
        reads = [
            (index, step, grid) for index, step, grid in gathering.inner.live() if isinstance(step, ItemRead)
        ]
        selection, rows = gathering.selection, gathering.rows if rows is None else rows
        ahead = self.executor is not None and selection.remote
        found = self._side_by_side(selection, rows, reads) if ahead else self._in_turn(selection, rows, reads)
        for row, outcome in found:
            if not self.wanted():
                raise Unwanted
            yield row, outcome

    def _in_turn(
        self, selection: Selection, rows: Iterable[int], reads: list[tuple[int, ItemRead, Grid]]
    ) -> Iterator[tuple[int, Pixels | GeoloomError]]:
        for row in rows:
            yield row, self._read(selection, row, reads)

    def _side_by_side(
        self, selection: Selection, rows: Iterable[int], reads: list[tuple[int, ItemRead, Grid]]
    ) -> Iterator[tuple[int, Pixels | GeoloomError]]:
        assert self.executor is not None
        aside = getattr(self.wanted, "aside", _at_once)
        under_way: list[tuple[int, Future[Pixels | GeoloomError]]] = []
        left = iter(rows)
        try:
            while True:
                while len(under_way) < AHEAD and (row := next(left, None)) is not None:
                    under_way.append((row, self.executor.submit(self._read, selection, row, reads)))
                if not under_way:
                    return
                row, first = under_way.pop(0)
                yield row, first.result() if first.done() else aside(first.result)
        finally:
            for _, waiting in under_way:
                waiting.cancel()

    def _read(
        self, selection: Selection, row: int, reads: list[tuple[int, ItemRead, Grid]]
    ) -> Pixels | GeoloomError:
        """The pixels of an item, or why there are none."""
        item = selection.item(row)
        try:
            return {index: self._block(selection, item, step, grid) for index, step, grid in reads}
        except (SourceError, DemandError) as error:
            return error

    def _block(self, selection: Selection, item: Item, step: ItemRead, grid: Grid) -> Block:
        """Some bands of an item on a grid, (bands, rows, cols), from as many files as they lie in."""
        parts: list[tuple[tuple[int, ...], Block]] = []
        missing = set(step.bands)
        for asset in item.assets:
            # Of a file's bands each may have a number of its own for what is not there.
            alike: dict[str, list[tuple[int, int]]] = {}
            for band, place in asset.bands:
                if band in missing:
                    missing.discard(band)
                    nodata = selection.bands[band].nodata
                    alike.setdefault(repr(nodata), []).append((step.bands.index(band), place))
            for here in alike.values():
                indices, places = zip(*here, strict=True)
                nodata = selection.bands[step.bands[indices[0]]].nodata
                parts.append((indices, self._asset(nodata, item, asset, step, places, grid)))
        if missing:
            names = ", ".join(selection.bands[band].name for band in sorted(missing))
            raise SourceNotFound(f"It has no {names}.")
        if len(parts) == 1 and parts[0][0] == tuple(range(step.count)):
            return _as(parts[0][1], step.dtype)
        data = np.empty((step.count, *grid.shape), step.dtype)
        valid = np.empty((step.count, *grid.shape), np.bool_)
        for indices, block in parts:
            data[list(indices)] = block.data
            valid[list(indices)] = block.valid
        return Block(data, valid)

    def _asset(
        self,
        nodata: float | None,
        item: Item,
        asset: Asset,
        step: ItemRead,
        places: tuple[int, ...],
        grid: Grid,
    ) -> Block:
        source = self.pool.open(asset.href, nodata, SETTLED if _far(asset.href) else None)
        info = source.info
        if asset.mark and not info.fingerprint.startswith(asset.mark):
            raise SourceChanged(
                f"{_name(asset.href)} has changed since it was taken into the catalogue.",
                hint="Ingest it again, and select anew.",
            )
        if max(places) >= len(info.bands):
            raise SourceNotFound(
                f"{_name(asset.href)} has {len(info.bands)} bands, fewer than the catalogue says."
            )
        demanded = demand(info, grid, places, step.resampling, self.limits)
        block = warp(source, grid, places, step.resampling, plan=demanded)
        _check_values(block, step.dtype, asset)
        inside = promised(item.footprint, info, nodata, grid)
        return block if inside is None else Block.of(block.data, block.valid & inside)


def _far(href: str) -> bool:
    return "://" in href and not href.startswith("file:")


def _check_values(block: Block, dtype: str, asset: Asset) -> None:
    """Refuse values that the type the catalogue told of cannot hold: they would become others."""
    data, wanted = block.data, np.dtype(dtype)
    if wanted.kind == "f" or np.can_cast(data.dtype, wanted):
        return
    with np.errstate(invalid="ignore"):
        lost = data.astype(wanted) != data
    if (lost & block.valid).any():
        raise SourceUnreadable(
            f"{_name(asset.href)} has {data.dtype} values that are no {dtype}, as the catalogue says it has.",
            hint="Correct the catalogue, or ingest the files again.",
        )


def _as(block: Block, dtype: str) -> Block:
    return Block(block.data.astype(dtype, copy=False), block.valid)


def _name(href: str) -> str:
    return short_name(Address.parse(href).href)


def _all_failed(failed: list[ItemFailure]) -> GeoloomError:
    """What to say where nothing can be shown: the first item's reason, of its own kind."""
    first = failed[0]
    others = f" None of the other {len(failed) - 1} here can be read either." if len(failed) > 1 else ""
    kind = type(first.error)
    return kind(f"{first.item}: {first.error.message}{others}", hint=first.error.hint)


def _at_once(wait: Callable[[], Pixels | GeoloomError]) -> Pixels | GeoloomError:
    return wait()
