"""GeoTIFF and COG through GDAL.

Handles are leased: each reading thread takes a free handle or opens one, so that GDAL never sees
one handle in two threads, and blocks decoded by one thread are in the cache for all. GDAL's
thread-safe handles would open (and decode) anew in every thread, at a time of their own choosing,
which may be after the file was replaced.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from osgeo import gdal

from geoloom.block import Array, Mask
from geoloom.errors import SourceChanged, SourceRefused, SourceUnreadable
from geoloom_engine.cache import BlockCache, Decoded
from geoloom_engine.readers.access import Place
from geoloom_engine.readers.describe import describe
from geoloom_engine.readers.fingerprint import fingerprint
from geoloom_engine.readers.held import HeldFiles
from geoloom_engine.readers.inflate import StoredTiles
from geoloom_engine.readers.layout import Layout
from geoloom_engine.readers.remote_file import RemoteFile
from geoloom_engine.readers.source import SourceInfo, Window

gdal.UseExceptions()

DRIVERS = ("GTiff",)
"""What GDAL may open here; a COG is read by the same driver."""

_IDLE_HANDLES = 4

type _Key = tuple[str, int, int, int, int]
"""Of a block: fingerprint, level, band, row, column."""

_MOST_HELD = 16 << 20
"""Bytes of a remote file that one read has at hand at once."""

_MOST_TILES = 1 << 14
"""Tiles of a level of a remote file up to which the table of all of them is fetched at once."""


def set_gdal_cache(size: int) -> None:
    """Bytes of GDAL's own block cache; small, since decoded blocks are kept above it."""
    gdal.SetCacheMax(size)


class GeoTiff:
    """An open GeoTIFF; a `Source`.

    Parameters
    ----------
    place
        What to open.
    files
        The file, open: `HeldFiles` of a local one.
    print_
        The fingerprint under which it is opened.
    cache
        Keeps decoded blocks.
    on_change
        Called when a read finds that the file has changed.
    nodata
        Value that stands for no data in bands that declare none, if they can hold it.

    Raises
    ------
    SourceUnreadable, SourceRefused, SourceNotGeoreferenced
        If it cannot be shown on a map.
    """

    def __init__(
        self,
        place: Place,
        files: HeldFiles | RemoteFile,
        print_: str,
        cache: BlockCache,
        on_change: Callable[[], None],
        nodata: float | None = None,
    ) -> None:
        self._place = place
        self._files = files
        self._cache = cache
        self._print = print_
        # Blocks with another nodata are other blocks.
        self._name = print_ if nodata is None else f"{print_} {nodata!r}"
        self._on_change = on_change
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._closed = False
        self._stored: dict[int, StoredTiles | None] = {}
        handle = self._open_handle()
        with self._told():
            self.info, self._layout = describe(handle, place, print_, nodata)
        self._check_unchanged()
        self._idle.append(handle)

    info: SourceInfo
    _layout: Layout

    def read(self, level: int, bands: tuple[int, ...], window: Window) -> tuple[Array, Mask]:
        """See `geoloom_engine.readers.Source.read`."""
        blocks = self._blocks(level, bands, window)
        width, height = self._block_size(level)
        rows, cols = window.height, window.width
        shared = self._layout.shared_valid or len(bands) == 1
        layers = 1 if shared else len(bands)
        if len(blocks) == 1 and len(bands) == 1:
            (by, bx), (block,) = next(iter(blocks.items()))
            top, left = window.y - by * height, window.x - bx * width
            part = (np.newaxis, slice(top, top + rows), slice(left, left + cols))
            return block.data[part], _all_valid(1, rows, cols) if block.valid is None else block.valid[part]
        data = np.empty((len(bands), rows, cols), self._layout.common_dtype(bands))
        masked = any(block.valid is not None for column in blocks.values() for block in column)
        valid = np.ones((layers, rows, cols), np.bool_) if masked else _all_valid(layers, rows, cols)
        for (by, bx), column in blocks.items():
            y0, x0 = by * height - window.y, bx * width - window.x
            top, left = max(y0, 0), max(x0, 0)
            bottom, right = min(y0 + height, rows), min(x0 + width, cols)
            into = (slice(top, bottom), slice(left, right))
            inner = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
            for index, block in enumerate(column):
                data[index][into] = block.data[inner]
                if block.valid is not None and index < layers:
                    valid[index][into] = block.valid[inner]
        data.setflags(write=False)
        valid.setflags(write=False)
        return data, valid

    def close(self) -> None:
        """Let the file go; a read that has begun ends well."""
        with self._lock:
            self._closed = True
            self._idle.clear()

    def _block_size(self, level: int) -> tuple[int, int]:
        return self._layout.blocks[level]

    def _blocks(
        self, level: int, bands: tuple[int, ...], window: Window
    ) -> dict[tuple[int, int], list[Decoded]]:
        """The blocks that cover a window, from the cache or decoded now, each by one thread only."""
        width, height = self._block_size(level)
        places = [
            (by, bx)
            for by in range(window.y // height, (window.y + window.height - 1) // height + 1)
            for bx in range(window.x // width, (window.x + window.width - 1) // width + 1)
        ]
        keys = [(self._name, level, band, *place) for place in places for band in bands]
        blocks = self._cache.load(keys, self._decode)
        return {place: [blocks[self._name, level, band, *place] for band in bands] for place in places}

    def _decode(self, keys: list[_Key]) -> dict[_Key, Decoded]:
        """Blocks of one level read from the file; given only if it is still the same afterwards."""
        level = keys[0][1]
        missing: dict[tuple[int, int], list[int]] = {}
        for _, _, band, *place in keys:
            missing.setdefault((place[0], place[1]), []).append(band)
        width, height = self._block_size(level)
        full_width, full_height = self.info.levels[level]
        decoded: dict[_Key, Decoded] = {}
        parts = {
            (by, bx): Window(
                bx * width,
                by * height,
                min(width, full_width - bx * width),
                min(height, full_height - by * height),
            )
            for by, bx in missing
        }
        with self._lease() as handle, self._told():
            stored = self._stored_tiles(handle, level)
            for batch, ranges in self._batches(handle, level, missing, parts, stored):
                with self._files.held(ranges):
                    for at in batch:
                        bands = tuple(missing[at])
                        blocks = self._layout.decode(handle, level, bands, parts[at], stored)
                        for band, block in zip(bands, blocks, strict=True):
                            decoded[self._name, level, band, *at] = block
        self._check_unchanged()
        return decoded

    def _batches(
        self,
        handle: Any,
        level: int,
        missing: dict[tuple[int, int], list[int]],
        parts: dict[tuple[int, int], Window],
        stored: StoredTiles | None,
    ) -> Iterator[tuple[list[tuple[int, int]], set[tuple[int, int]]]]:
        """The missing blocks, as many together as may be at hand, and the ranges to fetch for them."""
        batch: list[tuple[int, int]] = []
        ranges: set[tuple[int, int]] = set()
        total = 0
        for at, bands in missing.items():
            own: set[tuple[int, int]] = set()
            if self._place.remote:
                own = set(self._layout.places(handle, level, tuple(bands), parts[at], stored))
            size = sum(length for _, length in own)
            if batch and total + size > _MOST_HELD:
                yield batch, ranges
                batch, ranges, total = [], set(), 0
            batch.append(at)
            ranges |= own
            total += size
        yield batch, ranges

    def _stored_tiles(self, handle: Any, level: int) -> StoredTiles | None:
        """A level's tiles as they are stored, found when it is first read."""
        if level not in self._stored:
            width, height = self._layout.blocks[level]
            full_width, full_height = self.info.levels[level]
            tiles = -(-full_width // width) * -(-full_height // height) * handle.RasterCount
            elsewhere = level > 0 and self._files.beside
            many = self._place.remote and tiles > _MOST_TILES
            self._stored[level] = (
                None
                if elsewhere or many
                else self._layout.stored(handle, level, self._files.pread, self.info)
            )
        return self._stored[level]

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What GDAL, or a read that it asked for, fails with inside the block, as our own errors."""
        self._files.failure()
        try:
            with gdal.quiet_errors():
                yield
        except RuntimeError as error:
            self._check_unchanged()
            raise self._files.failure() or _damaged(self._place, error) from None
        # GDAL goes on without what it can do without, an overview for one.
        failure = self._files.failure()
        if failure is not None:
            raise failure

    def _check_unchanged(self) -> None:
        """A remote file is rechecked by the pool alone: here that would cost a request a block."""
        if not self._place.remote and fingerprint(self._place) != self._print:
            self._on_change()
            raise SourceChanged(
                f"{self._place.name} has changed since it was opened.", hint="Ask again to see the new one."
            )

    @contextlib.contextmanager
    def _lease(self) -> Iterator[Any]:
        with self._lock:
            handle = self._idle.pop() if self._idle else None
        if handle is None:
            handle = self._open_handle()
        yield handle
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_HANDLES:
                self._idle.append(handle)

    def _open_handle(self) -> Any:
        with self._told(), self._files.names() as (name, siblings):
            handle = gdal.OpenEx(name, gdal.OF_RASTER, allowed_drivers=list(DRIVERS), sibling_files=siblings)
            elsewhere = handle.GetMetadataItem("OVERVIEW_FILE", "OVERVIEWS")
            foreign = not elsewhere and not _all_tiff(handle)
        if foreign:
            raise SourceRefused(
                f"A file beside {self._place.name} is not a TIFF file.", hint="Make it anew, or remove it."
            )
        if elsewhere:
            raise SourceRefused(
                f"{self._place.name} keeps its overviews in another file, named inside it.",
                hint="Make overviews in the file itself (gdaladdo).",
            )
        return handle


def _all_tiff(handle: Any) -> bool:
    """Have GDAL open the files beside a source now, while their names are good; whether all are TIFF.

    They were when they were looked at, but can be written to since, and GDAL opens whatever it finds.
    """
    for number in range(1, handle.RasterCount + 1):
        band = handle.GetRasterBand(number)
        below = [band.GetOverview(level) for level in range(band.GetOverviewCount())]
        if band.GetMaskFlags() & gdal.GMF_PER_DATASET:
            below.append(band.GetMaskBand())
        for one in below:
            dataset = None if one is None else one.GetDataset()
            driver = None if dataset is None else dataset.GetDriver()
            if driver is not None and driver.ShortName not in DRIVERS:
                return False
    return True


def _all_valid(layers: int, rows: int, cols: int) -> Mask:
    return np.broadcast_to(np.True_, (layers, rows, cols))


def _damaged(place: Place, error: RuntimeError) -> SourceUnreadable:
    """What GDAL met, without its text: that may name other files."""
    text = str(error)
    if "not recognized" in text or "not supported" in text:
        return SourceUnreadable(
            f"{place.name} is not a GeoTIFF that can be read.",
            hint="Convert it to a cloud-optimised GeoTIFF (gdal_translate -of COG).",
        )
    return SourceUnreadable(
        f"{place.name} is damaged or incomplete.",
        hint="Copy or download it again, and check it with gdalinfo -checksum.",
    )
