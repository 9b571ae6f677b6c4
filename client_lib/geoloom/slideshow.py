"""An animation on a map: a layer that shows one frame after the other, and its date slider.

A second layer, fully transparent, loads the frame that comes next. The shown layer changes its address when
that has arrived, so that the browser has every tile at hand and nothing flashes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from html import escape
from typing import Any

import ipyleaflet
import ipywidgets

from geoloom.errors import GeoloomError
from geoloom.layers import BLANK, INK, MAX_ZOOM, RENEW_AFTER, Engine, ImageLayer, Registered
from geoloom.panel import SPINNER
from geoloom.stretch import in_common, styled
from geoloom.timeline import Animation, Frame
from geoloom.wording import in_words

INTERVAL = 1.0
"""Seconds for which a frame is shown while the animation plays."""

PATIENCE = 1.5
"""Seconds after which a frame is shown whose loading has not begun: nobody may be looking at the map."""

LONGEST = 30.0
"""Seconds after which a frame is shown though tiles of it are missing."""


class AnimatedLayer(ImageLayer):
    """The frames of an animation, one at a time; made by `Map.add_layer`.

    Parameters
    ----------
    engine, base, traits
        As `ImageLayer`'s.
    """

    def __init__(self, engine: Engine, base: Callable[[], str], **traits: Any) -> None:
        self.ahead = ipyleaflet.TileLayer(url=BLANK, opacity=0.0, max_zoom=MAX_ZOOM, name="")
        self.interval = INTERVAL
        self.patience = PATIENCE
        self.animation: Animation | None = None
        self.frames: tuple[Frame, ...] = ()
        self.shown = 0
        self.wanted = 0
        self.playing = False
        self._coming: int | None = None
        self._began = False
        self._look: Callable[[Any], Any] = lambda image: image
        self._known: dict[int, tuple[Registered, float]] = {}
        self.guard = threading.RLock()
        self._timer: threading.Timer | None = None
        self._map: Any = None
        self._watch: Any = None
        self._control: Any = None
        super().__init__(engine, base, **traits)
        self.slider = DateSlider(self)
        self.ahead.observe(self._arrived, "loading")
        self.observe(self._give_way, "loading")

    @property
    def given(self) -> Any:
        """The animation."""
        return self.animation

    def draw(self, image: Any, **look: Any) -> None:
        """Show an animation, in place of what was shown so far.

        Parameters
        ----------
        image
            An `Animation`.
        look
            `vmin`, `vmax` and `colormap` of an unstyled one. What is missing comes from statistics of the
            first, middle and last frame together.
        """
        animation: Animation = image
        fixed = in_common([one.image for one in animation], self.engine, **look)
        with self.guard:
            self._stop()
            at = min(self.shown, len(animation) - 1)
            self._look = lambda one: styled(one, fixed, **look)[0]
            drawn, note = styled(animation[at].image, fixed, **look)
            super().draw(drawn)
            self.note, self.image, self.animation = note, animation[at].image, animation
            self.frames = animation.frames
            assert self.registered is not None
            self._known = {at: (self.registered, self.renew_at)}
            self.shown = self.wanted = at
            self.slider.refresh()

    def show(self, index: int) -> None:
        """Show a frame, by its number; it appears when its tiles have arrived."""
        with self.guard:
            self.wanted = index % len(self.frames)
            if self.wanted == self.shown:
                self.slider.refresh()
                return
            ready = self._coming == self.wanted and self._began and not self.ahead.loading
            if ready or not self.visible:
                self._swap()
            elif self._coming != self.wanted:
                self._load(self.wanted)
            else:
                self._wait(self.patience)
            self.slider.refresh()

    def step(self, steps: int) -> None:
        """Go some frames forward, or back; after the last comes the first."""
        self.show(self.wanted + steps)

    def play(self, on: bool = True) -> None:
        """Show one frame after the other, over and over; `play(False)` stops."""
        with self.guard:
            if self.playing != on:
                self.playing = on
                if on:
                    self.step(1)
                else:
                    self._stop()
                self.slider.refresh()

    def renew(self) -> None:
        """Register the frame shown again, for a fresh right to read its tiles."""
        with self.guard:
            self._known.clear()
            super().renew()
            if self.registered is not None:
                self._known[self.shown] = self.registered, self.renew_at

    def join(self, map: Any, watch: Any) -> None:
        """Put the date slider on a map; it goes with the layer."""
        if self._map is map:
            return
        self._map, self._watch = map, watch
        self._control = ipyleaflet.WidgetControl(widget=self.slider, position="bottomright")
        map.mark(self.ahead)
        map.add(self._control)
        map.observe(self._follow, "layers")

    def _follow(self, _: Any) -> None:
        shown_on = self._map
        if shown_on is None or self in shown_on.overlays:
            return
        self._map = None
        self.play(False)
        with self.guard:
            self._stop()
        shown_on.unobserve(self._follow, "layers")
        shown_on.remove(self._control)
        if self.ahead in shown_on.layers:
            shown_on.remove(self.ahead)

    def _next(self) -> int:
        return (self.wanted + 1) % len(self.frames)

    def _load(self, index: int) -> None:
        """Have the browser fetch a frame's tiles, unseen."""
        with self.guard:
            self._coming, self._began = index, False
            if index == self.shown or not self.visible:
                return
            try:
                tiles = self._registered(index).tiles
            except GeoloomError as error:
                self._fail(error)
                return
            address = self.address(tiles)
            if address == self.ahead.url:
                self._began = True
            else:
                self.ahead.url = address
                self.ahead.redraw()
            if index == self.wanted:
                self._wait(self.patience)

    def _registered(self, index: int) -> Registered:
        known = self._known.get(index)
        if known is None or time.time() >= known[1]:
            registered = self.engine.register(self._look(self.frames[index].image).chain)
            now = time.time()
            known = registered, now + max(1.0, RENEW_AFTER * (registered.expires - now))
            self._known[index] = known
        return known[0]

    def _arrived(self, change: Any) -> None:
        """The browser began to load the coming frame, or has all of it."""
        with self.guard:
            self._began = True
            if change["new"]:
                if self._coming == self.wanted != self.shown:
                    self._wait(LONGEST)
            elif self._coming == self.wanted != self.shown:
                self._swap()
            self.slider.refresh()

    def _give_way(self, change: Any) -> None:
        """What is looked at loads first, as after the map was moved; then the frame that comes next."""
        with self.guard:
            if self.wanted != self.shown or not self.visible:
                return
            if change["new"]:
                self._coming = None
                self.ahead.url = BLANK
                self.ahead.redraw()
            else:
                self._load(self._next())

    def _swap(self) -> None:
        """Show the frame that is wanted, whose tiles the browser has."""
        try:
            registered = self._registered(self.wanted)
        except GeoloomError as error:
            self._fail(error)
            return
        self.shown = self.wanted
        self.image = self.frames[self.shown].image
        self.drawn = self._look(self.image)
        self.messages = ()
        self._told.clear()
        unfinished = self.loading
        self._accept(registered)
        if unfinished:
            # A new URL alone would leave tiles that were still on their way.
            self.redraw()
        if self._map is not None:
            self._map.unsay(self.name)
            self._watch.remind(self._map, self)
        self._load(self._next())
        if self.playing:
            self._wait(self.interval)
        else:
            self._stop()
        self.slider.refresh()

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = threading.Timer(seconds, self._due)
        self._timer.daemon = True
        self._timer.start()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        """What was waited for did not come, or the frame was shown long enough."""
        with self.guard:
            if self._timer is not threading.current_thread():
                return
            if self.wanted != self.shown:
                self._swap()
            elif self.playing:
                self.step(1)

    def _fail(self, error: GeoloomError) -> None:
        self.playing = False
        self.wanted = self.shown
        self._stop()
        self.say(in_words(error))
        self.slider.refresh()

    def _switch(self, change: Any) -> None:
        super()._switch(change)
        self.slider.layout.display = None if change["new"] else "none"
        if not change["new"]:
            self.play(False)
            self._coming = None
            self.ahead.url = BLANK

    def __repr__(self) -> str:
        when = self.frames[self.shown].label if self.frames else ""
        return f"AnimatedLayer({self.name!r}, {when!r}, {len(self.frames)} frames)"


class DateSlider(ipywidgets.VBox):
    """The controls of an animated layer: its date in words, a slider, and buttons to play and step.

    Parameters
    ----------
    layer
        The `AnimatedLayer`.
    """

    def __init__(self, layer: AnimatedLayer) -> None:
        self._layer = layer
        self.label = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0 4px"))
        self.back = _button("step-backward", "The frame before", lambda _: self._step(-1))
        self.playing = ipywidgets.ToggleButton(
            icon="play",
            tooltip="Play",
            layout=ipywidgets.Layout(width="34px", height="28px", padding="0", margin="0 1px"),
        )
        self.forth = _button("step-forward", "The frame after", lambda _: self._step(1))
        self.place = ipywidgets.IntSlider(
            min=0, max=0, readout=False, layout=ipywidgets.Layout(flex="1 1 auto", min_width="120px")
        )
        row = ipywidgets.HBox(
            [self.back, self.playing, self.forth, self.place],
            layout=ipywidgets.Layout(align_items="center", overflow="hidden"),
        )
        super().__init__([self.label, row], layout=ipywidgets.Layout(width="310px", padding="3px 4px"))
        self.add_class("geoloom-dates")
        self._following = False
        self.playing.observe(lambda change: self._by_hand(layer.play, change["new"]), "value")
        self.place.observe(lambda change: self._by_hand(self._go, change["new"]), "value")

    def refresh(self) -> None:
        """Follow the layer."""
        layer = self._layer
        if not layer.frames:
            return
        frame = layer.frames[layer.wanted]
        count = "1 scene" if frame.count == 1 else f"{frame.count:,} scenes"
        busy = f" {SPINNER}" if layer.wanted != layer.shown else ""
        self._following = True
        try:
            self.label.value = (
                f'<div style="{INK};line-height:1.3" aria-live="polite"><b>{escape(frame.label)}</b>'
                f'{busy}<span style="float:right;opacity:.7">{count}, {layer.wanted + 1} of '
                f"{len(layer.frames)}</span></div>"
            )
            self.place.max = len(layer.frames) - 1
            self.place.value = layer.wanted
            self.playing.value = layer.playing
            self.playing.icon = "pause" if layer.playing else "play"
            self.playing.tooltip = "Pause" if layer.playing else "Play"
        finally:
            self._following = False

    def _by_hand(self, act: Callable[[Any], None], value: Any) -> None:
        # The layer's own changes come with its guard held, some of them from another thread.
        with self._layer.guard:
            if not self._following:
                act(value)

    def _step(self, steps: int) -> None:
        self._layer.play(False)
        self._layer.step(steps)

    def _go(self, index: int) -> None:
        self._layer.play(False)
        self._layer.show(index)


def layer_class(image: Any) -> type[ImageLayer]:
    """What shows an image, or an animation."""
    return AnimatedLayer if isinstance(image, Animation) else ImageLayer


def _button(icon: str, words: str, act: Any) -> ipywidgets.Button:
    button = ipywidgets.Button(
        icon=icon,
        tooltip=words,
        layout=ipywidgets.Layout(width="34px", height="28px", padding="0", margin="0 1px"),
    )
    button.on_click(act)
    return button
