"""Elevation models: coloured, lit, steep or turned to which side; and a marker that reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import geoloom as gl
from geoloom.answer import distance
from geoloom.catalog import entries
from geoloom.colour import ramps
from geoloom.controls import Slider, Span, choice, shown, text, tick
from geoloom.errors import GeoloomError, ParameterError
from geoloom.form import Gui
from geoloom.image import Image, connected
from geoloom.legend import number, unit_text
from geoloom.map import Map
from geoloom.python_text import Known, literal

SAMPLE = "srtm90.tif"
SAMPLES = ("data", "notebooks/data", "geoloom-samples/data")
"""Where it may lie: beside the notebooks, in the repository, in the home folder that a hub gives."""

COLLECTION = "collection:"
MOST_TOLD = 12

MODES = {
    "relief": "Relief: colours and shade",
    "ramp": "Colours by height",
    "hillshade": "Shade",
    "slope": "Slope",
    "aspect": "Aspect",
}
LIT = ("relief", "hillshade")
RAMPS = {"relief": "elevation", "ramp": "elevation", "slope": "ylorrd"}
"""What each mode begins with."""

COMPASS = ["#d7473f", "#e9a23b", "#f2e863", "#6fb44c", "#2f9e8f", "#3f7fc4", "#6a51a3", "#b5498f", "#d7473f"]
"""From north over east, south and west to north again."""

WINDS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
FEET = {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us survey foot": 1200 / 3937, "ftus": 1200 / 3937}
"""Metres in units of height."""

USUAL = (0.0, 4000.0)
"""Heights where a model's own cannot be measured."""


class Elevation(Gui):
    """Look at an elevation model: colours, shade, slope, aspect; drag the marker to read it.

    Parameters
    ----------
    map
        Where it is shown; a new map if there is none.
    source
        A file or URL of heights, or ``"collection:ID"``; by default the sample that comes with the notebooks,
        where it is.
    mode
        What to begin with: ``"relief"``, ``"ramp"``, ``"hillshade"``, ``"slope"`` or ``"aspect"``.
    """

    def __init__(self, map: Map | None = None, source: str | None = None, mode: str = "relief") -> None:
        if mode not in MODES:
            raise ParameterError(f"There is no mode {mode!r}.", hint=f"Use {', '.join(MODES)}.")
        found = _called(sample()) if source is None else str(source)
        self._usual = (found, COLLECTION) if found else (COLLECTION,)
        self.source = text("Source", found, "file, URL or collection:ID", self._usual)
        self.band = choice("Band", ["b1"], "b1")
        self.mode = choice("Show", [(words, mode) for mode, words in MODES.items()], mode)
        self.ramp = choice("Ramp", ramps(), RAMPS.get(mode, RAMPS["ramp"]))
        self.reversed = tick("Ramp reversed")
        self.heights = Span("Heights", *USUAL)
        self.steepest = Slider("Steepest, °", 5, 90, 45)
        self.azimuth = Slider("Light from, °", 0, 360, 315, 5)
        self.altitude = Slider("Light height, °", 0, 90, 45)
        self.exaggeration = Slider("Exaggerate, ×", 0.5, 10, 1, 0.5)
        self.strength = Slider("Colour", 0, 1, 0.55, 0.05)
        self._ramps = dict(RAMPS)
        self._ramp_of = mode
        self._opened = ""
        self._surface: Image | None = None
        self._dem: Image | None = None
        light = [self.azimuth, self.altitude, self.exaggeration, self.strength]
        chosen = [self.source, self.band, self.mode, self.ramp, self.reversed, self.heights, self.steepest]
        super().__init__(map, "Elevation", [*chosen, *light], self.read)

    def suit(self) -> None:
        """Only what the mode has; each mode remembers its ramp."""
        mode = self.mode.value
        if mode != self._ramp_of:
            with self.setting():
                self._ramps[self._ramp_of] = self.ramp.value
                self.ramp.value = self._ramps.get(mode, self.ramp.value)
            self._ramp_of = mode
        for control in (self.ramp, self.reversed):
            shown(control, mode in RAMPS)
        for control in (self.azimuth, self.altitude, self.exaggeration):
            shown(control, mode in LIT)
        shown(self.heights, mode in ("relief", "ramp"))
        shown(self.steepest, mode == "slope")
        shown(self.strength, mode == "relief")
        shown(self.band, len(self.band.options) > 1)

    def image(self) -> Image:
        """The elevation model in the chosen look."""
        dem, mode = self._model(), self.mode.value
        ramp = f"{self.ramp.value}_r" if self.reversed.value else self.ramp.value
        metres = FEET.get(str(dem.unit).lower(), 1.0)
        if mode == "slope":
            return dem.slope(z_factor=metres).scale(0, self.steepest.value).colormap(ramp)
        if mode == "aspect":
            return dem.aspect(z_factor=metres).scale(0, 360).colors(COMPASS)
        shade = dem.hillshade(
            azimuth=self.azimuth.value,
            altitude=self.altitude.value,
            z_factor=self.exaggeration.value * metres,
        )
        if mode == "hillshade":
            return shade
        coloured = dem.scale(*self._limits()).colormap(ramp)
        return coloured if mode == "ramp" else shade.blend(coloured, opacity=self.strength.value)

    def known(self) -> Known:
        """The elevation model, as it is opened."""
        if self._surface is None:
            return {}
        return {self._surface.key: ("dem", _opening(self._opened))}

    def read(self, lon: float, lat: float, zoom: int) -> Sequence[tuple[str, str]]:
        """Elevation, slope and aspect at a place, as the map shows them."""
        dem = self._dem
        if dem is None:
            return ()
        metres = FEET.get(str(dem.unit).lower(), 1.0)
        values = gl.stack(dem.rename("elevation"), dem.slope(z_factor=metres), dem.aspect(z_factor=metres))
        engine = connected()
        told = engine.point(engine.register(values.chain).key, lon, lat, zoom)
        height, steep, way = (told["values"][name] for name in ("elevation", "slope", "aspect"))
        if height is None:
            raise ParameterError(
                "The marker stands where there are no heights.",
                hint="Drag it onto the elevation model, or click there.",
            )
        unit = unit_text(dem.unit) or "m"
        flat = "flat" if steep is not None else "none at the edge"
        pixel = told.get("resolution_m")
        return (
            ("Elevation", f"{number(round(height, 1))} {unit}"),
            ("Slope", "none at the edge" if steep is None else f"{steep:.1f}°"),
            ("Aspect", flat if way is None else f"{way:.0f}° ({WINDS[round(way / 45) % 8]})"),
            ("Read at", f"zoom {zoom}" if pixel is None else f"zoom {zoom}, pixels of {distance(pixel)}"),
        )

    def _model(self) -> Image:
        """The band with the heights, opened anew if another source was written."""
        wanted = self.source.value.strip()
        if self._surface is None or wanted != self._opened:
            self._surface = self._dem = None
            if not wanted:
                raise ParameterError(
                    "No elevation model is chosen.",
                    hint="Write the path or URL of a file of heights, or collection: and a collection's id.",
                )
            if wanted.startswith(COLLECTION):
                self._suggest()
            surface = _open(wanted)
            self._accept(surface, wanted)
        assert self._surface is not None
        if self.band.value not in self._surface.band_names:
            raise ParameterError("Choose a band.")
        dem = self._surface if len(self._surface.band_names) == 1 else self._surface[self.band.value]
        if dem.profile.look is not None or dem.dtype == "bool":
            raise ParameterError(
                f"{wanted} holds colours or classes, not heights.", hint="Choose another file or band."
            )
        if self._dem is None or self._dem.key != dem.key:
            self._dem = dem
            self._measure(dem)
        return dem

    def _suggest(self) -> None:
        """Collections stand among the suggestions of sources, as soon as one is asked for."""
        names = [one.name for one in entries()]
        self.source.options = (*self._usual, *(f"{COLLECTION}{name}" for name in names))
        if self.source.value.strip() == COLLECTION:
            told = f"There are: {', '.join(names[:MOST_TOLD])}{', …' * (len(names) > MOST_TOLD)}."
            none = "The engine knows none; geoloom ingest makes one of files."
            raise ParameterError("Which collection?", hint=told if names else none)

    def _accept(self, surface: Image, wanted: str) -> None:
        """Another model: its bands; map and marker go there if they are elsewhere."""
        with self.setting():
            self.band.options = surface.band_names
            self.band.value = surface.band_names[0]
        self._surface, self._opened = surface, wanted
        shown(self.band, len(surface.band_names) > 1)
        if surface.bounds is not None:
            self.go(surface.bounds)

    def _measure(self, dem: Image) -> None:
        """The slider of heights, by the model's own."""
        engine = connected()
        try:
            told = engine.statistics(engine.register(dem.chain).key)["bands"][dem.band_names[0]]
            least, most = float(told["min"]), float(told["max"])
            marks = told["percentiles"]
            low, high = float(marks["2"]), float(marks["98"])
        except (GeoloomError, KeyError, TypeError):
            least, most = low, high = USUAL
        step = 10.0 ** max(math.floor(math.log10(max(most - least, 1e-3))) - 2, -3)
        least, most = math.floor(least / step) * step, math.ceil(most / step) * step
        with self.setting():
            value = (round(low / step) * step, round(high / step) * step)
            self.heights.limit(least, max(most, least + step), step, value)

    def _limits(self) -> tuple[float, float]:
        low, high = self.heights.value
        return (low, high) if low < high else (low, low + self.heights.slider.step)


def sample() -> str:
    """Path of the sample that comes with the notebooks, as seen from here; empty if it is not there."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        for place in SAMPLES:
            path = folder / place / SAMPLE
            if path.is_file():
                return str(path.relative_to(here) if path.is_relative_to(here) else path)
    return ""


def _called(path: str) -> str:
    """The sample as the field has it: where it lies is nobody's business where it does not lie below."""
    return SAMPLE if path.startswith("/") else path


def _href(source: str) -> str:
    return sample() or source if source == SAMPLE and not Path(SAMPLE).exists() else source


def _open(source: str) -> Image:
    if source.startswith(COLLECTION):
        return gl.collection(source.removeprefix(COLLECTION).strip()).mosaic()
    return gl.open(_href(source))


def _opening(source: str) -> str:
    """The code of `_open`."""
    if source.startswith(COLLECTION):
        return f"gl.collection({literal(source.removeprefix(COLLECTION).strip())}).mosaic()"
    return f"gl.open({literal(_href(source))})"
