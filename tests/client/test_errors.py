from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import sys
import traceback
import types

import pytest

from geoloom import errors
from geoloom.errors import EngineFault, GeoloomError, from_json

CLASSES = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, GeoloomError)]


def drawn() -> dict[str, tuple[str, str | None]]:
    """The tree of the module's docstring: name → (parent, built-in base)."""
    found: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ([│ ├└─]*)(\w+)(?: \((\w+)\))?(?:  +\S.*)?", line)
        if match is None:
            continue
        level = len(match[1]) // 4
        del path[level:]
        found[match[2]] = (path[-1] if path else "Exception", match[3])
        path.append(match[2])
    return found


def test_the_drawn_tree_is_the_real_tree() -> None:
    real = {}
    for one in CLASSES:
        bases = [base.__name__ for base in one.__bases__]
        assert len(bases) < 3
        real[one.__name__] = (bases[0], bases[1] if len(bases) == 2 else None)
    assert drawn() == real


def test_everything_is_exported() -> None:
    assert set(errors.__all__) == {one.__name__ for one in CLASSES} | {"from_json"}
    assert list(errors.__all__) == sorted(errors.__all__)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_json_round_trip(kind: type[GeoloomError]) -> None:
    error = kind("Zürich is not there.", hint="Look again.", node="a" * 32, op="open", incident="x1")
    sent = json.loads(json.dumps(error.to_json()))
    read = from_json(sent)
    assert type(read) is kind
    assert read.to_json() == error.to_json() == sent
    assert str(read) == "Zürich is not there. Look again. (incident x1)"
    assert kind.__doc__


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_travel_between_processes(kind: type[GeoloomError]) -> None:
    error = kind("It failed.", hint="Try again.", node="b" * 32, op="slope", incident="x2")
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(other) is kind
        assert other.to_json() == error.to_json()


def test_the_message_alone() -> None:
    assert str(GeoloomError("It failed.")) == "It failed."
    assert GeoloomError("It failed.").to_json() == {
        "error": "GeoloomError",
        "message": "It failed.",
        "node": None,
        "op": None,
        "hint": None,
        "incident": None,
    }


def test_built_in_bases_catch_them() -> None:
    with pytest.raises(ValueError, match="wrong"):
        raise errors.ParameterError("wrong")
    with pytest.raises(LookupError, match="B05"):
        raise errors.BandError("no B05")
    with pytest.raises(TypeError, match="lazy"):
        raise errors.ImageUseError("lazy")


@pytest.mark.parametrize(
    "name", ["Nonsense", "from_json", "annotations", "Any", "__doc__", "", None, 1, ["x"]]
)
def test_unknown_names_become_engine_faults(name: object) -> None:
    error = from_json({"error": name, "message": "It failed."})
    assert type(error) is EngineFault
    assert error.message == "It failed."


@pytest.mark.parametrize(
    "payload", [{}, {"error": "NotFound"}, {"error": "NotFound", "message": None, "hint": 3}]
)
def test_answers_with_gaps(payload: dict[str, object]) -> None:
    error = from_json(payload)
    assert error.message == "The engine answered without a message."
    assert error.hint in (None, "3")


def inside(message: str) -> None:
    """As a function of the package raises: its frames say that they are Geoloom's."""
    source = "def deep(message):\n    raise error(message)\ndef called(message):\n    deep(message)\n"
    names = {"__name__": "geoloom.somewhere", "error": errors.ParameterError}
    exec(compile(source, "somewhere.py", "exec"), names)
    names["called"](message)


@pytest.mark.parametrize(("mode", "frames"), [("Context", 0), ("Verbose", 2)])
def test_a_notebook_shows_the_callers_lines_and_the_message(monkeypatch, mode, frames):
    shown = []

    class Formatter:
        def structured_traceback(self, kind, error, trace, tb_offset):
            shown.extend(traceback.extract_tb(trace))
            return [f"{kind.__name__}: {error}"]

    Formatter.mode = mode
    shell = types.SimpleNamespace(InteractiveTB=Formatter())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    with pytest.raises(errors.ParameterError) as caught:
        inside("radius must be positive")
    assert caught.value._render_traceback_() == ["ParameterError: radius must be positive"]
    assert [one.filename for one in shown].count("somewhere.py") == frames
    assert shown[0].name == "test_a_notebook_shows_the_callers_lines_and_the_message"
    assert [one.filename for one in traceback.extract_tb(caught.value.__traceback__)].count(
        "somewhere.py"
    ) == 2


def test_a_failed_function_says_where_also_on_the_other_side() -> None:
    error = errors.FunctionFailed("f failed.", function="f", line=3, text="img[9]", exception="IndexError")
    read = from_json(json.loads(json.dumps(error.to_json())))
    assert isinstance(read, errors.FunctionFailed)
    assert (read.function, read.line, read.text, read.exception) == ("f", 3, "img[9]", "IndexError")
