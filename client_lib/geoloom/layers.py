"""A layer: tiles that the engine draws of one image, on an ipyleaflet map."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from html import escape
from pathlib import PurePosixPath
from typing import Any, Protocol

import ipyleaflet
import traitlets

from geoloom.legend import legend_html
from geoloom.stretch import styled
from geoloom.wording import as_html, one_line

MAX_ZOOM = 24
INK = "color:var(--jp-ui-font-color1,#222)"
"""Colour of text on the map's controls, which follow JupyterLab's theme."""

WRONG = "color:var(--jp-error-color1,#b00020)"
"""Colour of what went wrong there."""

BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""One clear pixel: what a hidden layer shows, so that the engine computes nothing for it."""
SIZED = frozenset({"draw", "heat"})
"""Ops that draw in pixels: on a screen of high density their tiles are enlarged, not drawn half as large."""

MOST_BLENDS = 4
"""How many blends deep a legend is looked for."""

RENEW_AFTER = 0.6
"""Part of its lifetime after which a right to read tiles is renewed."""


class Registered(Protocol):
    """What the engine answers to a registered chain."""

    key: str
    data: str
    tiles: str
    expires: float


class Engine(Protocol):
    """What a map needs of the engine; `engine_client.EngineClient` is one, tests have another."""

    def register(self, chain: Any) -> Registered:
        """Make the chain known; gives its key and the path of its tiles."""

    def describe(self, chain: Any) -> Mapping[str, Any]:
        """Bands, bounds in degrees, zooms and sources of a chain."""

    def statistics(self, key: str, bbox: Any = None) -> Mapping[str, Any]:
        """Percentiles and more of each band."""

    def legend(self, key: str) -> Mapping[str, Any]:
        """What the colours mean."""

    def ask(self, path: str, **question: Any) -> dict[str, Any]:
        """What the engine answers to a question."""

    def blob(self, key: str) -> bytes:
        """The bytes stored under a key."""

    def point(self, key: str, lon: float, lat: float, zoom: int | None = None) -> Mapping[str, Any]:
        """Values at a point."""


class ImageLayer(ipyleaflet.TileLayer):
    """An image on a map.

    Made by `Map.add_layer`. Hidden layers ask for no tiles. The URL of the tiles carries a right to read
    them, so it is not part of any representation.

    `renew_at` (seconds since 1970) says when that right should be renewed, `asked_at` (monotonic seconds)
    when the browser first asked for tiles of the present chain.

    Parameters
    ----------
    engine
        Where chains are registered.
    base
        Gives the URL under which the browser finds the engine; asked again after a restart.
    """

    note = traitlets.Unicode("", help="How the image came by its look, if it had none.")
    legend = traitlets.Dict(help="What the colours mean, as the engine says it.")
    messages = traitlets.Tuple(help="What went wrong, each once, in words.")
    waiting = traitlets.Bool(False, help="Whether the engine was too busy and tiles will come later.")

    def __init__(self, engine: Engine, base: Callable[[], str], **traits: Any) -> None:
        self.engine = engine
        self._base = base
        self._attempt = 0
        self._told: dict[Any, str] = {}
        self._tiles = BLANK
        self.renew_at = 0.0
        self.asked_at: float | None = None
        self.image: Any = None
        self.drawn: Any = None
        self.registered: Registered | None = None
        self.described: Mapping[str, Any] = {}
        traits.setdefault("max_zoom", MAX_ZOOM)
        super().__init__(url=BLANK, **traits)
        self.observe(self._switch, "visible")
        self.observe(self._note_request, "loading")

    @property
    def key(self) -> str:
        """Key of the chain whose tiles are shown."""
        return self.registered.key if self.registered is not None else ""

    @property
    def bbox(self) -> tuple[float, float, float, float] | None:
        """(west, south, east, north) in degrees, if the image has an edge."""
        bounds = self.described.get("bounds")
        return None if bounds is None else (bounds[0], bounds[1], bounds[2], bounds[3])

    @property
    def given(self) -> Any:
        """What was added to the map as this layer."""
        return self.image

    def join(self, map: Any, watch: Any) -> None:
        """Told once it is on a map, for controls of its own, and who listens to the engine for that map."""

    def draw(self, image: Any, **look: Any) -> None:
        """Show an image, in place of the one shown so far.

        Parameters
        ----------
        image
            An `Image`, styled or not.
        look
            `vmin`, `vmax` and `colormap` of an unstyled one.
        """
        drawn, note = styled(image, self.engine, **look)
        registered = self.engine.register(drawn.chain)
        described = self.engine.describe(drawn.chain)
        legend = legend_of(drawn.chain, self.engine)
        changed = self.registered is not None and self.key != registered.key
        self.image, self.drawn = image, drawn
        self.described = described
        with self.hold_sync():
            self.bounds = _corners(described.get("bounds"))
            self.note = note
            self.legend = legend
            self.messages = ()
            self.waiting = False
            self._told.clear()
            self._accept(registered)
        if changed:
            # A new URL alone would leave tiles that were still on their way.
            self.redraw()

    def renew(self) -> None:
        """Register the chain again: a fresh right to read its tiles, of the data as they are now."""
        if self.drawn is not None:
            self._accept(self.engine.register(self.drawn.chain))

    def recover(self) -> None:
        """Register again and ask for every tile again, those included that never arrived."""
        self._attempt += 1
        self.renew()
        self.redraw()

    def retry(self) -> None:
        """Ask again for the tiles shown, without a flash."""
        self._attempt += 1
        self._show()

    def address(self, tiles: str) -> str:
        """The URL under which the browser finds tiles, from their path on the engine."""
        attempt = f"&v={self._attempt}" if self._attempt else ""
        if self.drawn is None or not any(node.op in SIZED for node in self.drawn.chain.nodes.values()):
            # Leaflet puts "@2x" for {r} on screens of high density, and nothing elsewhere.
            tiles = tiles.replace("{y}.png", "{y}{r}.png")
        return f"{self._base().rstrip('/')}{tiles}{attempt}"

    def say(self, message: str, about: Any = None) -> bool:
        """Add a message, in place of the one about the same if there is one; whether there was none.

        Parameters
        ----------
        about
            What it is about; the message itself by default.
        """
        about = message if about is None else about
        new = about not in self._told
        self._told[about] = message
        self.messages = tuple(self._told.values())
        return new

    def _switch(self, change: Any) -> None:
        self._show()
        if change["new"]:
            self.redraw()

    def _note_request(self, change: Any) -> None:
        if change["new"] and self.asked_at is None and self.url != BLANK:
            self.asked_at = time.monotonic()

    def _accept(self, registered: Registered) -> None:
        if registered.key != self.key:
            self.asked_at = None
        self.registered = registered
        now = time.time()
        self.renew_at = now + max(1.0, RENEW_AFTER * (registered.expires - now))
        self._tiles = registered.tiles
        self._show()

    def _show(self) -> None:
        if not self.visible or self.registered is None:
            self.url = BLANK
            return
        self.url = self.address(self._tiles)

    def __repr__(self) -> str:
        return f"ImageLayer({self.name!r}, key={self.key!r})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        title = f"<b>{escape(one_line(self.name, 200))}</b> <code>{escape(self.key[:12])}</code>"
        note = f"<div>{escape(self.note)}</div>" if self.note else ""
        said = "".join(f"<div>⚠ {as_html(message)}</div>" for message in self.messages)
        legend = legend_html(self.legend, named=False)
        html = f'<div style="max-width:320px">{title}{note}{legend}{said}</div>'
        return {"text/plain": repr(self), "text/html": html}


def legend_of(chain: Any, engine: Engine, depth: int = MOST_BLENDS) -> dict[str, Any]:
    """The legend of a registered chain; where it has none of its own (a blend), those of its inputs."""
    legend = dict(engine.legend(chain.root))
    if legend.get("kind") != "none" or not depth:
        return legend
    parts = []
    for key in chain.node.inputs:
        below = chain.at(key)
        engine.register(below)
        parts.append(legend_of(below, engine, depth - 1))
    told = [part for part in parts if part.get("kind") != "none"]
    coloured = [part for part in told if part["kind"] != "grey"] or told
    return {"kind": "group", "parts": coloured} if coloured else legend


def _corners(bounds: Any) -> list[tuple[float, float]] | None:
    """South-west and north-east corner as Leaflet wants them; None over the antimeridian or the whole world.

    Leaflet knows no rectangle that ends where it began, so such layers are asked for everywhere.
    """
    if bounds is None:
        return None
    west, south, east, north = bounds
    return [(south, west), (north, east)] if west < east else None


def label_of(image: Any) -> str:
    """Name of a layer that was given none: its band's, or its file's if the band has none of its own."""
    names = image.profile.names
    if len(names) == 1 and not re.fullmatch(r"b[0-9]+", names[0]):
        return str(names[0])
    files = list(getattr(image, "sources", ()))
    return PurePosixPath(files[0]).stem if len(files) == 1 else "image"
