"""Image: the lazy handle on one node of a chain. Its methods come from the op registry.

Nothing here computes a pixel: operators and methods build the chain, and only `tile`, `point`,
`statistics`, `explain`, `save` and `pin` ask the engine.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geoloom import blobs
from geoloom.answer import Explanation, Statistics, place, step, table
from geoloom.chain import Chain
from geoloom.errors import ImageUseError
from geoloom.grid import Bounds
from geoloom.lazy import NO_NUMBERS, Lazy, band_name, no_image
from geoloom.op import Op, Profile, registry
from geoloom.operators import REVERSED, arguments, operators
from geoloom.ops.constant import Constant
from geoloom.ops.open import pinned

if TYPE_CHECKING:
    from geoloom.engine_client import EngineClient
    from geoloom.report import Report

Bbox = tuple[float, float, float, float]
Sources = Mapping[str, Mapping[str, Any]]
"""What the engine said of each source, by href."""


class Image(Lazy):
    """A lazy image: named bands of a chain. Immutable; every method returns a new one.

    Parameters
    ----------
    chain
        What to compute.
    profile
        What it gives: band names, dtype, unit, look.
    sources
        What the engine said of the files it reads, by href; of a collection's items, by selection.
    """

    __slots__ = ("_profile", "_sources", "chain")
    __array_priority__ = 1000

    def __init__(self, chain: Chain, profile: Profile, sources: Sources) -> None:
        self.chain = chain
        self._profile = profile
        self._sources = sources

    # What it is; none of this contacts the engine.

    @property
    def key(self) -> str:
        """The chain's key: equal chains have equal keys, everywhere."""
        return self.chain.root

    @property
    def profile(self) -> Profile:
        """Band names, dtype, unit, range and look."""
        return self._profile

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self._profile.names

    @property
    def dtype(self) -> str:
        """The bands' dtype, by its name in numpy."""
        return self._profile.dtype

    @property
    def unit(self) -> str | None:
        """Unit of the values, if known."""
        return self._profile.unit

    @property
    def sources(self) -> Sources:
        """What the engine said of the files it reads, by href."""
        return self._sources

    @property
    def crs(self) -> str | None:
        """Coordinate reference system of the finest source."""
        found = (self._finest() or {}).get("crs")
        return None if found is None else str(found)

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Pixel width and height of the finest source, in units of `crs`."""
        finest = self._finest()
        found = (finest or {}).get("resolution")
        return None if found is None else (found[0], found[1])

    @property
    def bounds(self) -> Bbox | None:
        """West, south, east, north in degrees; west > east crosses the antimeridian."""
        if not self._sources:
            return None
        around = Bounds.around([Bounds(*source["bounds"]) for source in self._sources.values()])
        return around.west, around.south, around.east, around.north

    def _finest(self) -> Mapping[str, Any] | None:
        known = self._sources.values()  # features have no resolution
        return min(known, key=lambda one: float(one.get("ground_resolution", math.inf)), default=None)

    def to_json(self) -> str:
        """The chain's canonical JSON, the texts of its functions included."""
        return blobs.to_json(self.chain, lambda key: connected().blob(key))

    def equals(self, other: Image) -> bool:
        """Whether both are the same chain; ``==`` compares pixel by pixel."""
        return isinstance(other, Image) and self.chain == other.chain

    def steps(self) -> list[str]:
        """The chain's steps in words, sources first."""
        return [step(node) for node in self.chain.topological()]

    def __repr__(self) -> str:
        bands = ", ".join(self.band_names)
        return f"<Image [{bands}] {self.dtype}, {len(self.chain.nodes)} steps, key {self.key[:8]}…>"

    def _repr_html_(self) -> str:
        rows = {
            "bands": ", ".join(self.band_names),
            "dtype": self.dtype + (f", {self.unit}" if self.unit else ""),
            "CRS": self.crs or "none: the same everywhere",
            "place": place(self.bounds, self._finest()),
            "source": ", ".join(one.get("href", name) for name, one in self._sources.items()) or "none",
            "steps": " → ".join(self.steps()[-6:]),
            "key": self.key,
        }
        return table("Image", rows)

    def __dir__(self) -> list[str]:
        return sorted(
            name for name in object.__dir__(self) if not name.startswith("_") or name.startswith("__")
        )

    # Building chains.

    def apply(self, op: Op, *inputs: Image) -> Image:
        """The image of an op over this image and others.

        Raises
        ------
        BandError, ParameterError
            If the op cannot be applied to bands like these.
        ChainTooLarge
            Beyond the bounds of a chain.
        """
        return build(op, self, *inputs)

    def bands(self, *names: str | int) -> Image:
        """Some bands, in the order given, by name or number (from 0)."""
        select = registry()["select"]
        return self.apply(select(bands=[band_name(self._profile, name) for name in names]))

    def __getitem__(self, which: str | int | slice | list[str | int] | tuple[str | int, ...]) -> Image:
        if isinstance(which, slice):
            return self.bands(*self.band_names[which])
        if isinstance(which, list | tuple):
            return self.bands(*which)
        return self.bands(which)

    def execute(
        self,
        f: Callable[..., Any] | str,
        *args: Any,
        margin: int = 0,
        modules: Iterable[str] | str | None = None,
        dtype: Any = None,
        bands: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> Image:
        """The result of a numpy function of your own, ``f(img, *args, **kwargs)``, run by the engine.

        Parameters
        ----------
        f
            Gets ``img``, an array (bands, rows, cols) in which 8- and 16-bit integers are int32, and returns
            (rows, cols) or (bands, rows, cols), or changes ``img`` in place and returns None. By the names
            ``valid``, ``grid`` and ``bands`` it also gets the mask, the place, and the bands' names.
        args, kwargs
            Its own arguments: numbers, text, lists and dicts of these.
        margin
            Pixels that it needs around each tile, for filters of neighbourhoods.
        modules
            Modules it uses beyond numpy, math, scipy and skimage, where the engine has them.
        dtype, bands
            The result's dtype, and the names of its bands. What is not given shows in a trial on made-up
            pixels, here in the notebook.

        Raises
        ------
        FunctionNotSent
            It cannot travel to the engine: why, and in which line.
        FunctionFailed
            It failed in the trial.
        """
        from geoloom.execution import execute

        return execute(self, f, args, kwargs, margin=margin, modules=modules, dtype=dtype, bands=bands)

    def replay(self, z: int, x: int, y: int) -> Report:
        """Run the image's own functions here on the pixels of a tile, to see why one fails there.

        What they raise is raised here; ``%debug`` then stands at the line. Those that came with the image, as
        by `geoloom.load`, run after `geoloom.trust`: no sandbox holds them here.
        """
        from geoloom.function import replay

        __tracebackhide__ = True  # IPython leaves such frames out
        return replay(self, z, x, y)

    def __hash__(self) -> int:
        return hash(self.key)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        op = _UFUNCS.get(ufunc.__name__)
        if op is None or method != "__call__" or kwargs:
            known = ", ".join(sorted(_UFUNCS))
            raise ImageUseError(
                f"numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method} cannot build a chain.",
                hint=f"These numpy functions can: {known}.",
            )
        return build(op(), *inputs)

    def __array_function__(self, func: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__
        if name in ("where", "clip", "round") and not kwargs:
            return call(registry()[name], *args)
        raise ImageUseError(f"numpy.{name} needs all pixels, and an image holds none yet.", hint=NO_NUMBERS)

    # What asks the engine.

    def save(self) -> str:
        """Keep the chain for good under its key, which is returned; `geoloom.load` brings it back."""
        connected().register(self.chain)
        connected().save(self.key)
        return self.key

    def unsave(self) -> None:
        """Keep the chain for good no more: unused for long, it is let go. What others saved too stays."""
        connected().save(self.key, False)

    def pin(self) -> Image:
        """The same image of exactly today's files: if one changes, tiles say so instead of changing."""
        client = connected()
        chain = pinned(self.chain, lambda href: str(client.info(href)["fingerprint"]))
        return Image(chain, self._profile, self._sources)

    def tile(self, z: int, x: int, y: int, pixel_ratio: int = 1) -> bytes:
        """One tile as the map gets it: PNG bytes of 256 × `pixel_ratio` pixels a side."""
        return connected().tile(self.chain, z, x, y, pixel_ratio)

    def point(self, lon: float, lat: float, zoom: int | None = None) -> dict[str, float | None]:
        """Values at a point in degrees, by band; None where invalid.

        Parameters
        ----------
        zoom
            Of the map; without it the finest source's own pixel.
        """
        client = connected()
        client.register(self.chain)
        values = dict(client.point(self.key, lon, lat, zoom)["values"])
        if (
            self.bounds is not None
            and Bounds(*self.bounds).holds(lat, lon)
            and set(values.values()) == {None}
        ):
            warnings.warn(f"Nothing is there; is it point(lon={lat}, lat={lon})?", stacklevel=2)
        return values

    def statistics(
        self, bbox: Bbox | None = None, *, zones: Any = None, resolution: float | None = None
    ) -> Any:
        """Count, min, max, mean, std, percentiles and histogram of each band.

        Computed on at most 512 × 512 pixels, as the map would show the area.

        Parameters
        ----------
        bbox
            West, south, east, north in degrees; without it all of the sources' extent.
        zones
            A `geoloom.vector`: the answer is a DataFrame with its attributes, a row for each feature.
        resolution
            Of the zones' pixels, in ground metres; without it the image's own.
        """
        if zones is not None or resolution is not None or not isinstance(bbox, Sequence | None):
            from geoloom.zonal import zone_table

            return zone_table(self, zones, resolution, bbox)
        client = connected()
        client.register(self.chain)
        return Statistics(client.statistics(self.key, bbox)["bands"])

    def explain(self, zoom: int | None = None) -> Explanation:
        """What a tile in the middle of the image would read and compute: steps, pixels, bytes, cost."""
        client = connected()
        client.register(self.chain)
        return Explanation(client.explain(self.key, zoom))


def build(op: Op, *inputs: Any) -> Image:
    """The image of an op over images and numbers; at least one must be an image."""
    images = [_image(op.name, one) for one in inputs]
    profile = op.described(*(one.profile for one in images))
    sources: dict[str, Mapping[str, Any]] = {}
    for one in images:
        sources.update(one.sources)
    return Image(op.chain(*(one.chain for one in images)), profile, sources)


def call(cls: type[Op], *args: Any, **kwargs: Any) -> Image:
    """Call an op as its method is called: the first image, other inputs, then parameters."""
    values = arguments(cls, args, kwargs)
    inputs = [values.pop("self")] if cls.inputs else []
    for declared in cls.inputs[1:]:
        given = values.pop(declared.name)
        inputs.extend(given if declared.kind == "images" else [given])
    images = [_image(cls.name, one) for one in inputs]
    for parameter in cls.parameters:
        if images and parameter.names_band:
            value = values[parameter.name]
            several = isinstance(value, list | tuple)
            names = [band_name(images[0].profile, one) for one in (value if several else [value])]
            values[parameter.name] = names if several else names[0]
    return build(cls(**values), *images)


def _image(name: str, value: Any) -> Image:
    if not isinstance(value, Image) and hasattr(value, "__geoloom_image__"):
        value = value.__geoloom_image__()
    if isinstance(value, Image):
        return value
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, int | float):
        op = Constant(value=value)
        return Image(op.chain(), op.profile(), {})
    from geoloom.stencil import area

    if (found := area(value)) is not None:
        return found
    raise no_image(name, value)


def connected() -> EngineClient:
    """The engine's client; imported when first needed, which keeps building chains light."""
    from geoloom.engine_client import connect

    return connect()


_UFUNCS: dict[str, type[Op]] = {}


def function(cls: type[Op]) -> Callable[..., Image]:
    """The function of an op: all inputs first, then parameters."""

    def called(*args: Any, **kwargs: Any) -> Image:
        return call(cls, *args, **kwargs)

    called.__name__ = cls.name
    called.__qualname__ = f"Image.{cls.name}"
    called.__doc__ = cls.reference()
    called.__signature__ = cls.signature().replace(return_annotation="Image")  # type: ignore[attr-defined]
    return called


def _operator(cls: type[Op], name: str) -> Callable[..., Any]:
    if name in REVERSED:
        return lambda self, other: build(cls(), other, self)
    if len(cls.inputs) == 1:
        return lambda self: build(cls(), self)
    return lambda self, other: NotImplemented if other is None else build(cls(), self, other)


def _attach(cls: type[Op]) -> None:
    """Give Image the method, the operators and the numpy function of an op."""
    if cls.method and cls.inputs and not hasattr(Image, cls.name):
        setattr(Image, cls.name, function(cls))
    if cls.ufunc:
        _UFUNCS[cls.ufunc] = cls
    for name in operators(cls):
        setattr(Image, name, _operator(cls, name))


for _cls in registry().values():
    _attach(_cls)
