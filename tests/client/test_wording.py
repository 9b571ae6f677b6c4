from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from geoloom.errors import FunctionFailed, FunctionStopped, NotFound
from geoloom.wording import (
    LONGEST,
    MOST_LINES,
    SHORT,
    Trouble,
    as_html,
    called_here,
    harmless,
    in_words,
    printed,
)

HOSTILE = {
    "html": "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "attribute": "\"' onmouseover=alert(1) x='",
    "terminal": "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b31m\x08\x08\x07",
    "direction": "safe\u202egnp.exe\u2066\u2069\u200f\ufeff",
    "newlines": "one\n\n\r\ntwo\rthree\u2028four\x85five",
    "code": "x\n    import os; os.system('rm')\nTo run it here:\n    m.replay()",
    "long": "x" * 3_000_000,
    "many lines": "\n" * 1_000_000,
    "surrogate": "a\ud800b\x00c",
    "entity": "&lt;b&gt;&#x3c;",
}


def event(**more: Any) -> dict[str, Any]:
    error = FunctionFailed(
        "stubble, line 3: IndexError: index 7 is out of bounds",
        function="stubble",
        line=3,
        text="b11 = img[7]",
        exception="IndexError: index 7 is out of bounds",
        node="0" * 32,
        op="execute",
    )
    told = {**error.to_json(), "type": "error", "key": "1" * 32, "tile": [12, 2356, 1477], "count": 1, **more}
    return {"same": told["message"], **told}


def told(*events: dict[str, Any], replay: str | None = "m.layer('a').image") -> str:
    trouble = Trouble.of(events[0])
    for one in events:
        assert Trouble.of(one).about == trouble.about
        trouble.count(one)
    return trouble.told(replay)


def test_events_and_errors_become_sentences() -> None:
    assert in_words(NotFound("No chain.", hint="Run the cell.")) == "No chain. Run the cell."
    happened = {"message": "It is gone.", "hint": "Put it back.", "op": "slope", "incident": "ab12"}
    assert in_words(happened) == "In slope: It is gone. Put it back. (incident ab12)"
    assert in_words({"message": "a.tif is gone.", "op": "open"}) == "a.tif is gone."
    assert in_words({}) == "The engine gave no reason."


def test_a_failed_function_is_told_with_its_line_its_tile_and_the_call_that_runs_it_here() -> None:
    assert told(event()) == (
        "stubble, line 3: IndexError: index 7 is out of bounds\n"
        "    3: b11 = img[7]\n"
        "To run it here, on the pixels of tile 12/2356/1477:\n"
        "    m.layer('a').image.replay(12, 2356, 1477)"
    )


def test_a_long_exception_leaves_room_for_what_to_do() -> None:
    shown = told(event(message="stubble, line 3: ValueError: " + "A" * 5000))
    assert len(shown.splitlines()[0]) == SHORT
    assert shown.endswith(".replay(12, 2356, 1477)")


def test_other_tiles_are_counted() -> None:
    again = event(tile=[12, 2356, 1478], message="stubble, line 3: IndexError: index 9 is out of bounds")
    shown = told(event(), again)
    assert shown.startswith("stubble, line 3: IndexError: index 7 is out of bounds\n")
    assert "\nIt happened 2 times so far. To run it here, on the pixels of tile 12/2356/1477:\n" in shown
    assert "It happened 6 times so far." in told(event(count=5), again)


def test_an_event_that_comes_again_says_the_number_so_far() -> None:
    again = event(message="stubble, line 3: IndexError: index 9 is out of bounds", count=3)
    assert "It happened 11 times so far." in told(event(), event(count=2), again, event(count=8))
    # The engine began to count anew.
    assert "It happened 10 times so far." in told(event(count=8), event(count=1), event(count=2))


def test_another_line_or_another_exception_is_another_trouble() -> None:
    abouts = {
        Trouble.of(one).about
        for one in (event(), event(line=4), event(exception="ValueError: x"), event(function="inner"))
    }
    assert len(abouts) == 4


def test_a_function_that_was_stopped_can_be_run_here_and_one_that_is_refused_cannot() -> None:
    stopped = FunctionStopped("stubble took longer than 5 s.", hint="Make it quicker.").to_json()
    shown = told({**stopped, "tile": [3, 4, 2]})
    assert shown.splitlines() == [
        "stubble took longer than 5 s. Make it quicker.",
        "To run it here, where it can be interrupted, on the pixels of tile 3/4/2:",
        "    m.layer('a').image.replay(3, 4, 2)",
    ]
    refused = {"error": "FunctionRefused", "message": "It is not run any more.", "tile": [3, 4, 2]}
    assert told(refused) == "It is not run any more.\nIt was on tile 3/4/2."


@pytest.mark.parametrize(
    "odd",
    [
        {"tile": None},
        {"tile": [1, 2]},
        {"tile": ["x", {}, 3]},
        {"line": "3"},
        {"text": None},
        {"exception": None},
        {"message": None},
        {"count": "many"},
        {"text": ["a"], "function": {"a": 1}},
    ],
)
def test_odd_events_are_told_too(odd: dict[str, Any]) -> None:
    assert told(event(**odd))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
class TestHostile:
    def test_text_is_shortened_and_has_nothing_invisible(self, text: str) -> None:
        found = harmless(text)
        assert len(found) <= LONGEST
        assert found.count("\n") <= MOST_LINES
        assert all(sign.isprintable() or sign == "\n" for sign in found)

    def test_everything_of_an_event_may_be_hostile(self, text: str) -> None:
        shown = told(event(message=text, text=text, function=text, exception=text, hint=text, op=text))
        lines = shown.splitlines()
        assert lines[-1] == "    m.layer('a').image.replay(12, 2356, 1477)"
        seen = [False, True, False, True] if text.strip() else [False, False, True]
        assert [line[:4] == "    " for line in lines] == seen
        assert len(shown) < 4 * LONGEST

    def test_html_has_no_tags_but_ours(self, text: str) -> None:
        for shown in (told(event(message=text, text=text)), printed(text)):
            html = as_html(shown)
            for own in ("</code>", "<br>"):
                html = html.replace(own, "")
            html = html.replace(as_html("    x").partition(">")[0] + ">", "")
            assert "<" not in html
            assert '"' not in html
            assert "'" not in html


def test_words_beside_the_hostile_ones_stay() -> None:
    assert harmless(HOSTILE["terminal"]) == "red31m"
    assert harmless(HOSTILE["direction"]) == "safegnp.exe"
    assert harmless(HOSTILE["newlines"]) == "one\n\n\ntwo\nthree\nfour\nfive"
    assert harmless("Zürich 東京 Ελλάδα\t1") == "Zürich 東京 Ελλάδα    1"


def test_prints_keep_their_lines() -> None:
    assert printed("42") == "printed: 42"
    assert printed("[[1 2]\n [3 4]]\n") == "printed:\n    [[1 2]\n     [3 4]]"
    assert printed("\n".join(map(str, range(100)))).endswith("    11\n    … more lines")


def test_things_are_called_as_the_notebook_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    shown, other = object(), object()
    main._5 = main.my_map = shown  # type: ignore[attr-defined]
    assert called_here(shown) == "my_map"
    assert called_here(other) is None


def test_items_that_are_left_out_are_counted():
    event = {
        "error": "ItemUnreadable",
        "op": "composite",
        "message": "S2A: B04.tif is not there.",
        "item": "S2A",
    }
    trouble = Trouble.of(event)
    trouble.count(event)
    trouble.count({**event, "count": 2})
    assert trouble.told() == "One item is left out, since it cannot be read. S2A: B04.tif is not there."
    trouble.count({**event, "item": "S2B", "message": "S2B: …"})
    assert trouble.told().startswith(
        "2 items are left out, since they cannot be read. The first: S2A: B04.tif"
    )
