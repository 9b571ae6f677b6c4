"""A slice of a netCDF or Zarr variable as a source: one time, one depth, all of its longitudes and latitudes.

Such files have no overviews. Coarse levels are made on reading: each of their pixels is the mean of
the valid pixels below it (the middle one of classes and flags), valid if at least half of them are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from geoloom.address import Address
from geoloom.block import Array, Mask
from geoloom.errors import SourceNotGeoreferenced, SourceUnreadable
from geoloom_engine.cache import BlockCache, Decoded
from geoloom_engine.readers.arrays import Variable
from geoloom_engine.readers.contents import MAX_BANDS, Axis, Contents, Placed, placed_on_earth
from geoloom_engine.readers.conventions import Gaps, Unplaced, stored_dtype
from geoloom_engine.readers.reduction import Reduction, sizes
from geoloom_engine.readers.source import BandInfo, SourceInfo, Window

type _Key = tuple[str, int, int, int, int]
"""Of a block: fingerprint, level, band, row, column."""

_AREA_PIXELS = 1 << 16
_MAX_BLOCK_PIXELS = 1 << 22
_SPLIT = 1024
_FOOTPRINT = 2048
_STRIP_PIXELS = 1 << 22


class Cube:
    """One variable of an open file, at a position; a `Source`.

    Parameters
    ----------
    address
        Which variable, and where along its dimensions.
    contents
        Of the file; shared by all its slices.
    print_
        The fingerprint under which it is opened.
    cache
        Keeps decoded blocks.
    check
        Raises SourceChanged if the file is no longer what it was.

    Raises
    ------
    SourceUnreadable, SourceNotGeoreferenced
        If there is no such variable or position, or it cannot be shown on a map.
    """

    def __init__(
        self,
        address: Address,
        contents: Contents,
        print_: str,
        cache: BlockCache,
        name: str,
        check: Callable[[], None],
    ) -> None:
        self._contents = contents
        self._cache = cache
        self._print = print_
        self._check = check
        self._variable = variable = _chosen(contents, address, name)
        try:
            self._placed = contents.placed(variable)
        except Unplaced as error:
            raise SourceNotGeoreferenced(
                f"{name}: {variable.name} {error.reason}.", hint=error.hint
            ) from None
        self._fixed, self._free = _position(contents, variable, self._placed, address, name)
        self._levels = [variable, *contents.coarser(variable, self._placed)]
        self._dtype = stored_dtype(variable)
        self._gaps = Gaps.of(variable, self._dtype)
        self.info = self._describe(address, name)
        self._bands = len(self.info.bands)
        self._classes = self.info.resampling == "nearest"
        check()

    info: SourceInfo

    def read(self, level: int, bands: tuple[int, ...], window: Window) -> tuple[Array, Mask]:
        """See `geoloom_engine.readers.Source.read`."""
        width, height = self.info.decoded[level]
        rows, cols = window.height, window.width
        places = [
            (by, bx)
            for by in range(window.y // height, (window.y + rows - 1) // height + 1)
            for bx in range(window.x // width, (window.x + cols - 1) // width + 1)
        ]
        keys = [(self._print, level, band, *place) for place in places for band in bands]
        blocks = self._cache.load(keys, self._decode)
        if len(keys) == 1:
            block = blocks[keys[0]]
            top, left = window.y - places[0][0] * height, window.x - places[0][1] * width
            part = (np.newaxis, slice(top, top + rows), slice(left, left + cols))
            valid = _all_valid(1, rows, cols) if block.valid is None else block.valid[part]
            return block.data[part], valid
        data = np.empty((len(bands), rows, cols), self._dtype)
        masked = any(block.valid is not None for block in blocks.values())
        valid = np.ones(data.shape, np.bool_) if masked else _all_valid(*data.shape)
        for by, bx in places:
            y, x = by * height - window.y, bx * width - window.x
            top, left, bottom, right = max(y, 0), max(x, 0), min(y + height, rows), min(x + width, cols)
            into = (slice(top, bottom), slice(left, right))
            inner = (slice(top - y, bottom - y), slice(left - x, right - x))
            for index, band in enumerate(bands):
                block = blocks[self._print, level, band, by, bx]
                data[index][into] = block.data[inner]
                if block.valid is not None:
                    valid[index][into] = block.valid[inner]
        data.setflags(write=False)
        valid.setflags(write=False)
        return data, valid

    def close(self) -> None:
        """Nothing is held by a slice alone: the file closes with the last of its slices."""

    def _decode(self, keys: list[_Key]) -> dict[_Key, Decoded]:
        """Blocks of one level; given only if the file is still the same afterwards."""
        level = keys[0][1]
        missing: dict[tuple[int, int], list[int]] = {}
        for _, _, band, by, bx in keys:
            missing.setdefault((by, bx), []).append(band)
        width, height = self.info.decoded[level]
        full = self.info.levels[level]
        decoded: dict[_Key, Decoded] = {}
        for (by, bx), bands in missing.items():
            if (self._print, level, bands[0], by, bx) in decoded:
                continue
            x, y = bx * width, by * height
            part = Window(x, y, min(width, full[0] - x), min(height, full[1] - y))
            if level and self.info.built:
                blocks = self._reduced(level, bands, part)
            elif self._split and level == 0:
                self._decode_area(bands, part, decoded)
                continue
            else:
                blocks = self._pixels(bands, part, level)
            for band, block in zip(bands, blocks, strict=True):
                decoded[self._print, level, band, by, bx] = block
        self._check()
        wanted = set(keys)
        for key in decoded.keys() - wanted:
            self._cache.put(key, decoded[key])
        return {key: decoded[key] for key in keys}

    def _decode_area(self, bands: list[int], part: Window, decoded: dict[_Key, Decoded]) -> None:
        """All blocks that lie in the chunks which a block needs: those are decoded whole anyway."""
        width, height = self.info.decoded[0]
        x0, y0 = part.x // self._area[0] * self._area[0], part.y // self._area[1] * self._area[1]
        right = -(-(part.x + part.width) // self._area[0]) * self._area[0]
        bottom = -(-(part.y + part.height) // self._area[1]) * self._area[1]
        right, bottom = min(right, self.info.width), min(bottom, self.info.height)
        found = self._pixels(bands, Window(x0, y0, right - x0, bottom - y0))
        for by in range(-(-y0 // height), -(-bottom // height)):
            for bx in range(-(-x0 // width), -(-right // width)):
                x1, y1 = min((bx + 1) * width, self.info.width), min((by + 1) * height, self.info.height)
                if x1 > right or y1 > bottom:
                    continue
                inner = (slice(by * height - y0, y1 - y0), slice(bx * width - x0, x1 - x0))
                for band, block in zip(bands, found, strict=True):
                    valid = None if block.valid is None else block.valid[inner].copy()
                    if valid is not None and valid.all():
                        valid = None
                    # A view would keep the whole area in memory.
                    decoded[self._print, 0, band, by, bx] = Decoded(block.data[inner].copy(), valid)

    def _pixels(self, bands: list[int], part: Window, level: int = 0) -> list[Decoded]:
        """A rectangle of some bands as it is stored."""
        variable = self._variable
        first, last = (min(bands), max(bands)) if self._free is not None else (0, 0)
        region = []
        for dim in variable.dims:
            if dim == self._placed.x:
                region.append(slice(part.x, part.x + part.width))
            elif dim == self._placed.y:
                region.append(slice(part.y, part.y + part.height))
            elif dim == self._free:
                region.append(slice(first, last + 1))
            else:
                region.append(slice(self._fixed[dim], self._fixed[dim] + 1))
        raw = self._contents.file.read(self._levels[level].name, tuple(region))
        order = sorted(
            range(len(variable.dims)),
            key=lambda axis: {self._placed.y: 1, self._placed.x: 2}.get(variable.dims[axis], 0),
        )
        raw = raw.transpose(order).reshape(last - first + 1, part.height, part.width)
        decoded = []
        for band in bands:
            data = raw[band - first if self._free is not None else 0]
            stored = data.astype(variable.dtype.newbyteorder("="), copy=False)
            if stored.dtype.kind == "i" and self._dtype.kind == "u":
                stored = stored.view(self._dtype)
            data = np.array(stored, self._dtype, order="C")
            valid = self._gaps.valid(data)
            if valid is not None:
                data[~valid] = 0
            decoded.append(Decoded(data, valid))
        return decoded

    def _reduced(self, level: int, bands: list[int], part: Window) -> list[Decoded]:
        """A rectangle of a coarse level, made of the pixels below it strip by strip."""
        made = [
            Reduction((self.info.width, self.info.height), self.info.levels[level], part, self._classes)
            for _ in bands
        ]
        below = made[0].below
        tall = max(_STRIP_PIXELS // below.width // self._area[1], 1) * self._area[1]
        top = below.y
        while top < below.y + below.height:
            bottom = min(top // tall * tall + tall, below.y + below.height)
            strip = Window(below.x, top, below.width, bottom - top)
            for reduction, block in zip(made, self._pixels(bands, strip), strict=True):
                reduction.add(strip, block.data, block.valid)
            top = bottom
        return [one.result(self._dtype) for one in made]

    def _describe(self, address: Address, name: str) -> SourceInfo:
        variable, placed = self._variable, self._placed
        width, height = self._contents.size(variable, placed)
        found = placed_on_earth(placed, width, height)
        if found is None:
            raise SourceNotGeoreferenced(
                f"{name}: the coordinates of {variable.name} have no place on Earth in {placed.crs_name}.",
                hint="Check their units and the grid mapping.",
            )
        across, down = variable.dims.index(placed.x), variable.dims.index(placed.y)
        chunks = (variable.chunks[across], variable.chunks[down])
        self._area = _area(chunks, (width, height))
        self._split = self._area[0] * self._area[1] > _MAX_BLOCK_PIXELS
        block = (min(self._area[0], _SPLIT), min(self._area[1], _SPLIT)) if self._split else self._area
        stored = self._levels[1:]
        overviews = tuple((one.shape[across], one.shape[down]) for one in stored) or sizes(width, height)
        footprint = max(self._area[0], _FOOTPRINT), max(self._area[1], _FOOTPRINT)
        decoded = [_area((one.chunks[across], one.chunks[down]), overviews[0]) for one in stored] or [
            (
                max(math.ceil(footprint[0] * size[0] / width), 1),
                max(math.ceil(footprint[1] * size[1] / height), 1),
            )
            for size in overviews
        ]
        bands = _bands(variable, self._dtype, self._gaps, self._free_axis())
        transform = placed.transform
        return SourceInfo(
            href=address.text,
            driver=self._contents.file.driver,
            fingerprint=self._print,
            width=width,
            height=height,
            transform=transform,
            crs=placed.crs,
            bands=bands,
            overviews=overviews,
            bounds=found[0],
            resolution=(math.hypot(transform[1], transform[4]), math.hypot(transform[2], transform[5])),
            ground_resolution=found[1],
            resampling=bands[0].resampling,
            block=chunks,
            dtype=str(self._dtype),
            crs_name=placed.crs_name,
            decoded=(block, *decoded),
            built=not stored,
        )

    def _free_axis(self) -> Axis | None:
        return None if self._free is None else self._contents.axis(self._variable, self._free)


def _chosen(contents: Contents, address: Address, name: str) -> Variable:
    if address.variable is not None:
        return contents.variable(address.variable)
    shown = contents.data_variables()
    if len(shown) == 1:
        return shown[0]
    listed = ", ".join(one.name for one in shown[:8]) or "none that can be shown"
    raise SourceUnreadable(
        f"{name} holds {len(shown)} variables: {listed}.", hint="Choose one, as gl.open(…, variable='…')."
    )


def _position(
    contents: Contents, variable: Variable, placed: Placed, address: Address, name: str
) -> tuple[dict[str, int], str | None]:
    """The position along each dimension that is not horizontal, and the one that is left free."""
    axes = {axis.name: axis for axis in contents.others(variable, placed)}
    for dim in address.at:
        if dim not in axes:
            raise SourceUnreadable(
                f"{name}: {variable.name} has no dimension {dim!r} to choose from.",
                hint=f"It has: {', '.join(axes) or 'none beside its horizontal ones'}.",
            )
    fixed: dict[str, int] = {}
    free: list[Axis] = []
    for axis in axes.values():
        if axis.name in address.at:
            found = axis.find(address.at[axis.name])
            if found is None:
                raise SourceUnreadable(
                    f"{name}: {variable.name} has no {axis.name} {address.at[axis.name]}.",
                    hint=f"It has {axis.range}.",
                )
            fixed[axis.name] = found
        elif axis.size == 1:
            fixed[axis.name] = 0
        else:
            free.append(axis)
    for axis in free:
        if len(free) > 1 or axis.kind == "time" or axis.size > MAX_BANDS:
            raise SourceUnreadable(
                f"{name}: of {axis.name}, {variable.name} has {axis.range}.",
                hint=f"Choose one, as gl.open(…, {axis.name.rpartition('/')[2]}='{axis.texts[0]}').",
            )
    return fixed, free[0].name if free else None


def _bands(variable: Variable, dtype: np.dtype[Any], gaps: Gaps, free: Axis | None) -> tuple[BandInfo, ...]:
    short = variable.name.rpartition("/")[2]
    description = variable.text("long_name") or variable.text("standard_name")
    meanings = (variable.text("flag_meanings") or "").split()
    flags = variable.attributes.get("flag_values")
    ordered = flags == list(range(len(meanings)))
    classes = dtype.kind in "iu" and (bool(meanings) or "flag_masks" in variable.attributes)
    names = [short]
    if free is not None:
        texts = free.texts
        plain = all(not text[:1].isdigit() and text[:1] not in "-+." for text in texts)
        names = list(texts) if plain else [f"{free.name.rpartition('/')[2]}_{text}" for text in texts]
    return tuple(
        BandInfo(
            name=name,
            dtype=str(dtype),
            nodata=gaps.values[0] if gaps.declared else None,
            unit=variable.text("units"),
            scale=float(variable.number("scale_factor") or 1.0),
            offset=float(variable.number("add_offset") or 0.0),
            description=description,
            categories=tuple(meanings) if ordered and classes else (),
            resampling="nearest" if classes else "bilinear",
        )
        for name in names
    )


def _area(chunks: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Whole chunks that together hold at least 65,536 pixels, or the whole slice."""
    width, height = chunks
    while width * height < _AREA_PIXELS and (width < size[0] or height < size[1]):
        if height < size[1] and (height <= width or width >= size[0]):
            height *= 2
        else:
            width *= 2
    return width, height


def _all_valid(layers: int, rows: int, cols: int) -> Mask:
    return np.broadcast_to(np.True_, (layers, rows, cols))
