from __future__ import annotations

import re
import sys
import threading
import time
from typing import Any

import pytest

from geoloom.errors import CapabilityError, FunctionFailed
from geoloom.layers import ImageLayer
from geoloom.profile import Look
from geoloom.watch import MOST_TROUBLES, REACH_SECONDS, Watch, watch_for


class Listener:
    """As much of a map as the watch looks at."""

    def __init__(self, *layers: ImageLayer) -> None:
        self.comm: Any = object()
        self.image_layers = layers
        self.said: list[tuple[str, str]] = []

    def say(self, source: str, message: str, about: Any = None, **_: Any) -> None:
        if (source, message) not in self.said:
            self.said.append((source, message))

    def unsay(self, source: str) -> None:
        self.said = [pair for pair in self.said if pair[0] != source]


@pytest.fixture
def layer(paper_engine: Any, styled_image: Any) -> ImageLayer:
    layer = ImageLayer(paper_engine, paper_engine.tiles_base, name="NDVI")
    layer.draw(styled_image)
    return layer


@pytest.fixture
def listener(layer: ImageLayer) -> Listener:
    return Listener(layer)


@pytest.fixture
def watch(paper_engine: Any, listener: Listener) -> Watch:
    """A watch whose turns the test makes itself."""
    watch = Watch(paper_engine, paper_engine.tiles_base)
    watch._maps.add(listener)
    return watch


def happen(engine: Any, layer: ImageLayer, kind: str, message: str = "", error: str = "SourceError") -> None:
    told = {"type": kind, "error": error, "key": layer.key, "message": message, "hint": None}
    engine.happened.put({**told, "tile": [1, 2, 3]})


def fail(engine: Any, layer: ImageLayer, x: int, line: int = 2) -> None:
    shown = f"ValueError: value {x}"
    error = FunctionFailed(
        f"f, line {line}: {shown}",
        function="f",
        line=line,
        text="raise ValueError",
        exception=shown,
        op="execute",
    )
    engine.happened.put(
        {**error.to_json(), "type": "error", "key": layer.key, "tile": [5, x, 2], "same": shown, "count": 1}
    )


class TestTurns:
    def test_an_error_is_said_once(self, watch: Watch, layer: ImageLayer, listener: Listener) -> None:
        for _ in range(3):
            happen(watch.engine, layer, "error", "/data/a.tif is not there.")
            watch.turn(0.01)
        assert layer.messages == ("/data/a.tif is not there.",)
        assert listener.said == [("NDVI", "/data/a.tif is not there.")]

    def test_a_failing_function_is_said_once_and_its_tiles_are_counted(
        self, watch: Watch, layer: ImageLayer, new_map: Any, styled_image: Any, monkeypatch: Any
    ) -> None:
        shown = new_map()
        monkeypatch.setattr(sys.modules["__main__"], "my_map", shown, raising=False)
        shown.add_layer(styled_image, name='N"DVI')
        watch._maps.add(shown)
        for x in range(3):
            fail(watch.engine, layer, x)
        watch.turn(0.01)
        (message,) = shown.messages
        assert message.splitlines() == [
            "f, line 2: ValueError: value 0",
            "    2: raise ValueError",
            "It happened 3 times so far. To run it here, on the pixels of tile 5/0/2:",
            "    my_map.layer('N\"DVI').image.replay(5, 0, 2)",
        ]
        assert layer.messages[0].splitlines()[0] == message.splitlines()[0]
        assert f'geoloom.load("{layer.key}").replay(5, 0, 2)' in layer.messages[0].replace("gl.", "geoloom.")

    def test_a_cell_that_is_run_again_is_told_again(
        self, watch: Watch, layer: ImageLayer, new_map: Any, paper: Any, styled_image: Any
    ) -> None:
        """The engine tells equal failures once in a while, and the new map may come before."""
        fail(watch.engine, layer, 0)
        happen(watch.engine, layer, "error", "The file is gone.")
        watch.turn(0.01)
        again, other = new_map(), new_map()
        again.add_layer(styled_image, name="NDVI")
        other.add_layer(paper(href="/b.tif", look=Look("grey")))
        watch.join(again)
        watch.join(other)
        assert [message.partition(":")[0] for message in again.messages] == ["f, line 2"]
        assert other.messages == ()
        happen(watch.engine, layer, "changed")
        watch.turn(0.01)
        third = new_map()
        third.add_layer(styled_image, name="NDVI")
        watch.join(third)
        assert third.messages == ()

    def test_a_function_that_fails_in_as_many_ways_as_there_are_tiles_fills_no_screen(
        self, watch: Watch, layer: ImageLayer, listener: Listener
    ) -> None:
        for x in range(50):
            fail(watch.engine, layer, x, line=x)
        watch.turn(0.01)
        assert len(listener.said) == len(layer.messages) == MOST_TROUBLES

    def test_what_a_function_prints_is_shown_and_is_no_problem(
        self, watch: Watch, layer: ImageLayer, listener: Listener
    ) -> None:
        happen(watch.engine, layer, "print", "42 pixels")
        watch.turn(0.01)
        assert listener.said == [("NDVI", "printed: 42 pixels")]
        assert layer.messages == ()

    def test_prints_keep_their_lines_and_equal_ones_are_shown_once(
        self, watch: Watch, layer: ImageLayer, new_map: Any, styled_image: Any
    ) -> None:
        shown = new_map()
        shown.add_layer(styled_image, name="NDVI")
        watch._maps.add(shown)
        for text in ("42", "[[1 2]\n [3 4]]", "42"):
            happen(watch.engine, layer, "print", text)
        watch.turn(0.01)
        assert shown.messages == ("printed: 42", "printed:\n    [[1 2]\n     [3 4]]")
        assert "problem" not in shown.panel.rows[0].details.value

    @pytest.mark.parametrize("kind", ["error", "print"])
    def test_hostile_words_make_no_tags_in_the_widgets(
        self, watch: Watch, layer: ImageLayer, new_map: Any, styled_image: Any, kind: str
    ) -> None:
        hostile = (
            "<img src=x onerror=alert(1)>\n    </code></div><script>alert(2)</script>'\"\x1b[2J\u202e"
            + "A" * 9999
        )
        shown = new_map()
        layer = shown.add_layer(styled_image, name=hostile)
        watch._maps.add(shown)
        event = dict.fromkeys(("message", "hint", "function", "text", "exception", "incident"), hostile)
        more = {"type": kind, "error": "FunctionFailed", "key": layer.key, "tile": [1, 2, 3], "line": 3}
        watch.engine.happened.put({**event, **more})
        watch.turn(0.01)
        row = shown.panel.rows[0]
        for html in (
            shown._messages.board.value,
            row.title.value,
            row.details.value,
            layer._repr_mimebundle_()["text/html"],
        ):
            assert "AAAA" in html or html is row.details.value
            assert len(html) < 20_000
            assert not re.search(
                r"<(?!/?(div|b|br|code|span|details|summary|svg|circle|animateTransform)\b)", html
            )
            assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", html)
            assert "\x1b" not in html
            assert "\u202e" not in html

    def test_events_of_other_chains_are_left_alone(
        self, watch: Watch, layer: ImageLayer, listener: Listener
    ) -> None:
        watch.engine.happened.put({"type": "error", "key": "0" * 32, "message": "x"})
        watch.turn(0.01)
        assert layer.messages == ()
        assert listener.said == []

    def test_refused_tiles_come_back(
        self, watch: Watch, layer: ImageLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = layer.url
        happen(watch.engine, layer, "refused", "The engine is busy.")
        watch.turn(0.01)
        assert layer.waiting
        assert layer.url == url
        assert layer.messages == ()
        later = time.monotonic() + 1.5
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        assert not layer.waiting
        assert layer.url == f"{url}&v=1"

    def test_a_chain_that_was_lost_is_registered_again(
        self, watch: Watch, layer: ImageLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = layer.url
        happen(watch.engine, layer, "error", "No chain is stored.", error="NotFound")
        watch.turn(0.01)
        renewed = layer.url
        assert renewed != url
        assert layer.waiting
        assert layer.messages == ()
        later = time.monotonic() + 1.5
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        assert layer.url == f"{renewed}&v=1"

    def test_a_chain_that_stays_lost_is_told(
        self, watch: Watch, layer: ImageLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [time.monotonic()]
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: now[0])
        for _ in range(3):
            for _ in range(4):  # tiles of one view
                happen(watch.engine, layer, "error", "No chain is stored.", error="NotFound")
            watch.turn(0.01)
            assert layer.messages == ()
            while layer.waiting:
                now[0] += 0.5
                watch.turn(0.01)
        happen(watch.engine, layer, "error", "No chain is stored.", error="NotFound")
        watch.turn(0.01)
        assert layer.messages == ("No chain is stored.",)

    def test_many_refusals_of_one_view_wait_as_one(
        self, watch: Watch, layer: ImageLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(6):
            happen(watch.engine, layer, "refused")
        watch.turn(0.01)
        later = time.monotonic() + 1.5
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        assert not layer.waiting

    def test_tiles_that_a_worker_took_along_are_asked_for_again(
        self, watch: Watch, layer: ImageLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Browsers do not tell which images failed."""
        url = layer.url
        watch.turn(0.01)
        assert not layer.waiting
        watch.engine.starts["one"] += 1
        watch.turn(0.01)
        assert layer.waiting
        later = time.monotonic() + 1.5
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        assert layer.url == f"{url}&v=1"
        watch.turn(0.01)
        assert not layer.waiting

    def test_another_engine_of_the_same_service_is_no_death(self, watch: Watch, layer: ImageLayer) -> None:
        watch.engine.starts["another"] = 7
        for _ in range(6):
            watch.turn(0.01)
        assert not layer.waiting

    def test_refused_again_waits_longer(
        self, watch: Watch, layer: ImageLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [time.monotonic()]
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: now[0])
        waits = []
        for _ in range(4):
            happen(watch.engine, layer, "refused")
            watch.turn(0.01)
            start = now[0]
            while layer.waiting:
                now[0] += 0.5
                watch.turn(0.01)
            waits.append(now[0] - start)
        assert waits == [1.0, 2.0, 4.0, 8.0]

    def test_a_right_is_renewed_before_it_expires(self, watch: Watch, layer: ImageLayer) -> None:
        url = layer.url
        watch.turn(0.01)
        assert layer.url == url
        layer.renew_at = time.time() - 1
        watch.turn(0.01)
        assert layer.url != url
        assert layer.renew_at > time.time()

    def test_a_layer_whose_files_changed_is_registered_anew(self, watch: Watch, layer: ImageLayer) -> None:
        """Else tiles of the old and of the new file would stand side by side."""
        url = layer.url
        happen(watch.engine, layer, "changed")
        watch.turn(0.01)
        watch.turn(0.01)
        assert layer.url != url
        assert layer.messages == ()
        assert layer.renew_at > time.time()

    def test_a_renewal_that_fails_is_said(
        self, watch: Watch, layer: ImageLayer, listener: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(chain: Any) -> Any:
            raise CapabilityError("You may not read this any more.")

        monkeypatch.setattr(watch.engine, "register", refuse)
        layer.renew_at = time.time() - 1
        watch.turn(0.01)
        assert listener.said == [("NDVI", "You may not read this any more.")]
        assert layer.renew_at > time.time()

    def test_a_browser_that_never_asks_is_told(
        self, watch: Watch, layer: ImageLayer, listener: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layer.set_trait("loading", True)
        watch.turn(0.01)
        assert listener.said == []
        later = time.monotonic() + REACH_SECONDS + 1
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        ((_, message),) = listener.said
        assert "does not reach the tile engine at /lab/proxy/20123" in message
        assert "GEOLOOM_TILES_URL" in message
        happen(watch.engine, layer, "seen")
        watch.turn(0.01)
        assert listener.said == []

    def test_a_browser_that_asked_for_another_layer_is_only_slow(
        self, watch: Watch, layer: ImageLayer, listener: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch.engine.happened.put({"type": "seen", "key": "0" * 32})
        layer.set_trait("loading", True)
        watch.turn(0.01)
        later = time.monotonic() + REACH_SECONDS + 1
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        assert listener.said == []

    @pytest.mark.parametrize("why", ["seen", "hidden", "not shown"])
    def test_only_shown_layers_are_expected_to_ask(
        self, watch: Watch, layer: ImageLayer, listener: Listener, monkeypatch: pytest.MonkeyPatch, why: str
    ) -> None:
        if why != "not shown":
            layer.set_trait("loading", True)
        if why == "seen":
            happen(watch.engine, layer, "seen")
        layer.visible = why != "hidden"
        later = time.monotonic() + REACH_SECONDS + 1
        monkeypatch.setattr("geoloom.watch.time.monotonic", lambda: later)
        watch.turn(0.01)
        assert listener.said == []

    def test_after_a_failure_it_does_not_wait_for_events(self, watch: Watch, layer: ImageLayer) -> None:
        happen(watch.engine, layer, "seen")
        watch.turn(0.01)
        assert watch._patience() > 5
        watch._failures = 1
        assert watch._patience() == 0
        url = layer.url
        watch.turn(0.0)
        assert layer.url != url

    def test_a_restarted_engine_is_noticed_without_a_failed_poll(
        self, watch: Watch, layer: ImageLayer
    ) -> None:
        watch.turn(0.01)
        url = layer.url
        watch.engine.nonce = "second"
        watch.turn(0.01)
        assert layer.url != url
        assert layer.url.endswith("&v=1")


class TestThread:
    def test_it_tells_a_map_and_ends_with_the_last_one(
        self, new_map: Any, paper_engine: Any, styled_image: Any, eventually: Any
    ) -> None:
        m = new_map()
        watch = m._watch
        assert not watch.running
        layer = m.add_layer(styled_image, name="NDVI")
        assert watch.running
        happen(paper_engine, layer, "error", "It is gone.")
        eventually(lambda: m.messages == ("It is gone.",))
        m.close()
        eventually(lambda: not watch.running)

    def test_one_thread_serves_all_maps_of_a_kernel(
        self, new_map: Any, styled_image: Any, paper: Any
    ) -> None:
        # The thread of a map that was closed before may still be ending.
        before = set(threading.enumerate())
        first, second = new_map(), new_map()
        first.add_layer(styled_image)
        second.add_layer(paper(href="/b.tif", look=Look("grey")))
        assert first._watch is second._watch
        names = [thread.name for thread in set(threading.enumerate()) - before]
        assert names.count("geoloom-watch") == 1

    def test_an_engine_that_comes_back_brings_the_map_back(
        self, new_map: Any, paper_engine: Any, styled_image: Any, eventually: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("geoloom.watch.RETRY_SECONDS", (0.01,))
        m = new_map()
        layer = m.add_layer(styled_image, name="NDVI")
        paper_engine.go_away()
        eventually(lambda: any("does not answer" in message for message in m.messages))
        url = layer.url
        paper_engine.failure = None
        eventually(lambda: m.messages == () and layer.url != url)
        assert "&v=1" in layer.url

    def test_even_a_defect_is_said_and_survived(
        self,
        new_map: Any,
        paper_engine: Any,
        styled_image: Any,
        eventually: Any,
        monkeypatch: Any,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr("geoloom.watch.RETRY_SECONDS", (0.01,))
        m = new_map()
        events = paper_engine.events
        paper_engine.events = lambda *_: {"events": 3}
        m.add_layer(styled_image, name="NDVI")
        eventually(lambda: any("TypeError" in message for message in m.messages))
        assert m._watch.running
        paper_engine.events = events
        eventually(lambda: m.messages == ())
        assert capfd.readouterr() == ("", "")


def test_rights_are_withdrawn_when_the_kernel_ends(
    new_map: Any, paper_engine: Any, styled_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Any] = []
    monkeypatch.setattr("geoloom.watch.atexit.register", at_exit.append)
    m = new_map()
    m.add_layer(styled_image, name="a")
    m.add_layer(styled_image, name="b")
    (leave,) = at_exit
    leave()
    assert paper_engine.withdrawn


def test_there_is_one_watch_an_engine(paper_engine: Any) -> None:
    assert watch_for(paper_engine, paper_engine.tiles_base) is watch_for(
        paper_engine, paper_engine.tiles_base
    )
