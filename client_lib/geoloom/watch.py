"""The kernel's one thread that listens to the engine on behalf of its maps.

It reads the session's events by long poll, renews layers' rights before they expire, brings layers back after
the engine was busy or away, and notices browsers that do not reach the engine. It changes only widgets'
traits, never prints, and ends when the last map is closed.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from weakref import WeakSet

from geoloom.errors import EngineError, GeoloomError, NotFound
from geoloom.layers import Engine, ImageLayer
from geoloom.local import Endpoint
from geoloom.wording import Trouble, called_here, in_words, is_functions, printed

POLL_SECONDS = 10.0
"""How long the engine may hold a poll open: after it a restarted engine is noticed at the latest."""

WAKE_SECONDS = 2.0
"""The same while something is due soon: a layer whose tiles nobody has asked for yet, or refused tiles."""

REACH_SECONDS = 10.0
"""How long a shown layer may get no request before the map says so; a busy machine needs some seconds."""

RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits between attempts, after failures in a row."""

LOST_TRIES = 3
"""How often in a row a layer whose chain the engine does not know is registered again without a word."""

MOST_CHAINS = 64
"""Chains whose problems are remembered."""

MOST_TROUBLES = 6
"""Problems told of one layer: a function may fail in as many ways as there are tiles."""

AWAY = "engine"
"""Under which maps keep the message that the engine does not answer."""

UNREACHED = (
    "The browser does not reach the tile engine at {base}. If JupyterLab runs on another machine, install "
    "jupyter-server-proxy beside it; else set GEOLOOM_TILES_URL to an address of the engine that this "
    "browser can open, and restart the kernel."
)


class EngineWithEvents(Engine, Protocol):
    """An engine that can be listened to."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is, and the name by which it answers."""

    def withdraw(self) -> None:
        """Void every layer URL of this session."""

    def events(self, after: str | None = None, timeout: float = POLL_SECONDS) -> Mapping[str, Any]:
        """The session's events after an id, as soon as there are any."""


class Listener(Protocol):
    """What the thread needs of a map."""

    comm: Any

    @property
    def image_layers(self) -> tuple[ImageLayer, ...]:
        """The layers that the engine draws."""

    def say(self, source: str, message: str, **how: Any) -> None:
        """Show a message, once; see `messages.Messages.say`."""

    def unsay(self, source: str) -> None:
        """Take the messages of one source away."""


class Watch:
    """Listens to one engine.

    Parameters
    ----------
    engine
        The engine's client.
    base
        Gives the URL under which browsers find the engine.
    """

    def __init__(self, engine: EngineWithEvents, base: Callable[[], str]) -> None:
        self.engine = engine
        self.base = base
        self._maps: WeakSet[Any] = WeakSet()
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: str | None = None
        self._which: str | None = None
        self._starts: dict[str, int] = {}
        """Of the workers of each engine that was heard of."""
        self._leaving = False
        self._seen: set[str] = set()
        self._failures = 0
        self._retries: dict[str, tuple[int, float]] = {}
        self._troubles: OrderedDict[str, dict[Any, Trouble]] = OrderedDict()

    def join(self, listener: Listener) -> None:
        """Listen on behalf of a map, for as long as it is open.

        What is known of its layers' functions is said at once: the engine tells a failure once in a while,
        though the cell that makes the map may be run again before.
        """
        for layer in listener.image_layers:
            if not layer.messages:
                for trouble in list(self._troubles.get(layer.key, {}).values()):
                    if is_functions(trouble.event):
                        self._say(listener, layer, trouble)
        with self._guard:
            self._maps.add(listener)
            if not self._leaving:
                # Layer URLs end up in saved notebooks: they shall open nothing once the kernel has ended.
                self._leaving = True
                atexit.register(self.engine.withdraw)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="geoloom-watch", daemon=True)
                self._thread.start()

    def remind(self, listener: Listener, layer: ImageLayer) -> None:
        """Say on a map what is known of a layer's chain, whose tiles were loaded before it was shown."""
        for trouble in list(self._troubles.get(layer.key, {}).values()):
            self._say(listener, layer, trouble)

    def leave(self, listener: Listener) -> None:
        """Stop listening on behalf of a map."""
        with self._guard:
            self._maps.discard(listener)
        self._wake.set()

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def turn(self, timeout: float) -> None:
        """One turn: listen for at most `timeout` seconds, then do what is due.

        Raises
        ------
        GeoloomError
            If the engine does not answer.
        """
        answer = self.engine.events(self._last, timeout)
        self._last = answer.get("last", self._last)
        # A client may find a restarted engine by itself, so that no poll fails.
        which = self.engine.endpoint.nonce
        if self._failures or which != self._which:
            came_back = bool(self._failures) or self._which is not None
            self._failures, self._which = 0, which
            if came_back:
                self._recover()
        for event in answer.get("events") or ():
            self._tell(event)
        self._notice_deaths(answer.get("lives"))
        self._renew()
        self._retry()
        self._check_reach()

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._open():
                    self._thread = None
                    return
            try:
                self.turn(self._patience())
            except GeoloomError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the maps say it and the thread goes on
                self._failed(error)

    def _open(self) -> list[Any]:
        return [one for one in list(self._maps) if one.comm is not None]

    def _layers(self) -> list[tuple[Any, ImageLayer]]:
        return [(one, layer) for one in self._open() for layer in one.image_layers]

    def _patience(self) -> float:
        if self._failures:
            return 0.0
        now = time.time()
        waits = [POLL_SECONDS]
        for _, layer in self._layers():
            waits.append(max(0.1, layer.renew_at - now))
            if layer.key and layer.visible and layer.key not in self._seen:
                waits.append(WAKE_SECONDS)
        if self._retries:
            waits.append(WAKE_SECONDS)
        return min(waits)

    def _failed(self, error: Exception) -> None:
        wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
        if isinstance(error, EngineError):
            message = f"The tile engine does not answer; the map comes back when it does. {in_words(error)}"
        elif isinstance(error, GeoloomError):
            message = f"The map gets no news of the tile engine. {in_words(error)}"
        else:
            message = f"The map gets no news of the tile engine: {type(error).__name__}: {error}."
        for one in self._open():
            one.say(AWAY, message)
        self._wake.wait(wait)
        self._wake.clear()

    def _recover(self) -> None:
        for one in self._open():
            one.unsay(AWAY)
        for one, layer in self._layers():
            self._attempt(one, layer, layer.recover)

    def _notice_deaths(self, lives: Mapping[str, Any] | None) -> None:
        """Ask for all tiles shown again where a worker of the engine died: it may have had some of them."""
        if lives is None:
            return
        engine, starts = str(lives["engine"]), int(lives["starts"])
        before = self._starts.setdefault(engine, starts)
        self._starts[engine] = starts
        if starts > before:
            for _, layer in self._layers():
                self._ask_later(layer)

    def _tell(self, event: Mapping[str, Any]) -> None:
        key, kind = event.get("key"), event.get("type")
        trouble = self._trouble(event) if kind == "error" else None
        if kind == "seen":
            self._seen.add(str(key))
        elif kind == "changed":
            self._troubles.pop(str(key), None)
        for one, layer in self._layers():
            if layer.key != key:
                continue
            if kind == "seen":
                one.unsay(_reach(layer))
            elif kind == "changed":
                layer.renew_at = 0.0
            elif kind == "refused":
                self._ask_later(layer)
            elif event.get("error") == NotFound.__name__ and (
                layer.waiting or self._tries(layer) < LOST_TRIES
            ):
                # The engine's store let go of the chain; here it is still known.
                layer.renew_at = 0.0
                self._ask_later(layer)
            elif kind == "print":
                one.say(layer.name, printed(event.get("message")), quiet=True)
            elif trouble is not None:
                self._say(one, layer, trouble)

    def _trouble(self, event: Mapping[str, Any]) -> Trouble | None:
        """What an event is one more case of; None if there is enough to be told of its chain."""
        key, found = str(event.get("key")), Trouble.of(event)
        known = self._troubles.setdefault(key, {})
        self._troubles.move_to_end(key)
        if len(self._troubles) > MOST_CHAINS:
            self._troubles.popitem(last=False)
        if found.about not in known and len(known) == MOST_TROUBLES:
            return None
        trouble = known.setdefault(found.about, found)
        trouble.count(event)
        return trouble

    def _say(self, one: Any, layer: ImageLayer, trouble: Trouble) -> None:
        message = trouble.told(_here(one, layer))
        again = not layer.say(message, trouble.about)
        one.say(layer.name, message, about=trouble.about, again=again)

    def _tries(self, layer: ImageLayer) -> int:
        return self._retries.get(layer.key, (0, 0.0))[0]

    def _ask_later(self, layer: ImageLayer) -> None:
        """Ask for a layer's tiles again in a while, which is longer each time."""
        if layer.waiting:
            return
        layer.waiting = True
        count = self._tries(layer)
        wait = RETRY_SECONDS[min(count, len(RETRY_SECONDS) - 1)]
        self._retries[layer.key] = (count + 1, time.monotonic() + wait)

    def _retry(self) -> None:
        now = time.monotonic()
        for key, (count, due) in list(self._retries.items()):
            if now < due:
                continue
            waiting = [layer for _, layer in self._layers() if layer.key == key and layer.waiting]
            if not waiting:
                del self._retries[key]
                continue
            self._retries[key] = (count, now + RETRY_SECONDS[-1])
            for layer in waiting:
                layer.waiting = False
                layer.retry()

    def _renew(self) -> None:
        now = time.time()
        for one, layer in self._layers():
            if layer.key and layer.renew_at <= now:
                layer.renew_at = now + RETRY_SECONDS[-1]
                self._attempt(one, layer, layer.renew)

    def _attempt(self, one: Any, layer: ImageLayer, act: Callable[[], None]) -> None:
        try:
            act()
        except GeoloomError as error:
            message = in_words(error)
            if layer.say(message):
                one.say(layer.name, message)

    def _check_reach(self) -> None:
        if self._seen:
            # Browsers do reach the engine; they may wait for other tiles, as they ask for six at once.
            return
        now = time.monotonic()
        for one, layer in self._layers():
            if layer.asked_at is None or not layer.visible or layer.key in self._seen:
                continue
            if now - layer.asked_at > REACH_SECONDS:
                one.say(_reach(layer), UNREACHED.format(base=self.base()))


def watch_for(engine: Any, base: Callable[[], str]) -> Watch:
    """The one watch of this engine in this kernel."""
    with _guard:
        found = _watches.get(id(engine))
        if found is None:
            found = _watches[id(engine)] = Watch(engine, base)
        return found


_guard = threading.Lock()
_watches: dict[int, Watch] = {}
"""By the id of their engine, which they keep alive."""


def _reach(layer: ImageLayer) -> str:
    return f"reach {layer.name}"


def _here(shown: Any, layer: ImageLayer) -> str:
    """What the notebook has to write to get a layer's image."""
    name = called_here(shown)
    if name is not None and len(layer.name) <= 60:
        return f"{name}.layer({layer.name!r}).image"
    package = called_here(sys.modules["geoloom"]) or "gl"
    return f'{package}.load("{layer.key}")'
