from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from geoloom import blobs, execution
from geoloom.chain import Chain
from geoloom.errors import FunctionFailed, FunctionNotSent, ParameterError
from geoloom.execution import allowed, original
from geoloom.image import Image
from geoloom.opening import diff
from geoloom.ops.open import Open
from geoloom.profile import Profile

SCENE = Image(Open(href="/data/a.tif").chain(), Profile(("B04", "B08"), "uint16"), {})
LIMIT = 1000


def above(img, limit=LIMIT):
    return img[0] > limit


def params(image: Image) -> dict[str, Any]:
    return dict(image.chain.node.params)


def test_a_function_is_a_step_of_the_chain() -> None:
    found = SCENE.execute(above, 500)
    assert found.band_names == ("above",)
    assert found.dtype == "bool"
    node = found.chain.node
    assert (node.op, node.inputs) == ("execute", (SCENE.key,))
    assert params(found)["main"] == "above"
    assert params(found)["arguments"] == "[[500],{}]"
    text = blobs.kept(str(params(found)["text"]))
    assert text is not None
    assert b"LIMIT = 1000" in text
    assert original(str(params(found)["text"])) is above


def test_equal_functions_have_equal_keys() -> None:
    assert SCENE.execute(above, 500).equals(SCENE.execute(above, 500))
    assert not SCENE.execute(above, 500).equals(SCENE.execute(above, 501))
    assert not SCENE.execute(above, 500).equals(SCENE.execute(above, 500, margin=1))
    assert SCENE.execute(above, limit=500).key != SCENE.execute(above, 500).key


def test_steps_are_shown_as_they_are_written() -> None:
    found = SCENE.execute(above, 500, margin=3)
    assert found.steps() == ["open(href='/data/a.tif')", "execute(above, 500, margin=3)"]
    assert "execute(above, 500, margin=3)" in found._repr_html_()
    assert diff(found, SCENE) == "- execute(above, 500, margin=3)"


def test_the_chain_is_read_elsewhere_as_it_is() -> None:
    found = SCENE.execute(above, 500, margin=3)
    read = Chain.from_json(found.chain.to_json())
    assert read == found.chain


@pytest.mark.parametrize(
    ("body", "names", "dtype"),
    [
        ("img[0] - img[1]", ("f",), "int32"),
        ("img * 0.5", ("B04", "B08"), "float64"),
        ("np.stack([img[0], img[1], img[0]])", ("f_1", "f_2", "f_3"), "int32"),
    ],
)
def test_bands_and_dtype_are_found_by_a_trial(body: str, names: tuple[str, ...], dtype: str) -> None:
    found = SCENE.execute(f"def f(img):\n    return {body}")
    assert (found.band_names, found.dtype) == (names, dtype)


def test_one_interrupt_ends_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = []

    def loops(img):  # as if the kernel were interrupted while it ran
        raise KeyboardInterrupt

    tried = execution.try_out

    def counted(*given: Any) -> Any:
        trials.append(given)
        return tried(*given)

    monkeypatch.setattr(execution, "try_out", counted)
    with pytest.raises(KeyboardInterrupt):
        SCENE.execute(loops)
    assert len(trials) == 1


@pytest.mark.parametrize(("name", "value"), [("margin", 3), ("dtype", "float32"), ("modules", "math")])
def test_a_name_that_execute_takes_itself_is_no_argument(name: str, value: Any) -> None:
    text = f"def f(img, low, {name}=2):\n    return img[0] * low"
    with pytest.raises(ParameterError, match=f"{name}= is taken by execute, and f has"):
        SCENE.execute(text, 1, **{name: value})
    assert SCENE.execute(text, 1, 2).band_names == SCENE.execute(text, 1, 5, **{name: value}).band_names


def test_what_is_declared_is_not_tried() -> None:
    text = "def f(img):\n    return img[99]"
    with pytest.raises(FunctionFailed, match="IndexError"):
        SCENE.execute(text)
    found = SCENE.execute(text, dtype=np.uint8, bands=["class", "sure"])
    assert (found.band_names, found.dtype) == (("class", "sure"), "uint8")
    assert SCENE.execute(text, dtype="float32", bands="one").band_names == ("one",)
    partly = SCENE.execute("def f(img):\n    return img[0]", dtype="int64")
    assert (partly.band_names, partly.dtype) == (("f",), "int64")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ((1, 2.5, "x", None, True), [1, 2.5, "x", None, True]),
        ((np.int16(3), np.float64(0.5), np.array(7)), [3, 0.5, 7]),
        (((1, 2), [3], range(2), {"a": (1,)}), [[1, 2], [3], [0, 1], {"a": [1]}]),
    ],
)
def test_arguments_travel_as_json(given: tuple[Any, ...], sent: list[Any]) -> None:
    found = SCENE.execute("def f(img, *args):\n    return img[0]", *given)
    assert json.loads(str(params(found)["arguments"])) == [sent, {}]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.arange(3), "argument 1 of f is of type ndarray"),
        (float("nan"), "argument 1 of f is nan"),
        ([1, object()], "argument 1 of f is of type object"),
        ({1: 2}, "argument 1 of f is of type dict"),
        (SCENE, "argument 1 of f is of type Image"),
        (b"x", "argument 1 of f is of type bytes"),
    ],
)
def test_arguments_that_do_not_travel_are_told(value: Any, words: str) -> None:
    with pytest.raises(FunctionNotSent, match=words) as caught:
        SCENE.execute("def f(img, a):\n    return img[0]", value)
    assert "constant of the notebook" in str(caught.value)


def test_wrong_margins_and_dtypes_are_told_by_the_names_people_use() -> None:
    for margin, words in ((600, "margin=…. must be at most 512"), (-1, "at least 0"), (1.5, "whole number")):
        with pytest.raises(ParameterError, match=words):
            SCENE.execute(above, margin=margin)
    with pytest.raises(ParameterError, match="no dtype of numpy"):
        SCENE.execute(above, dtype="floaty")
    with pytest.raises(ParameterError, match="not the dtype of an image"):
        SCENE.execute(above, dtype="complex64")


def test_modules_are_those_of_the_operator_and_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def f(img):\n    import json\n    return img[0] * json.loads('2')"
    with pytest.raises(FunctionNotSent, match="json"):
        SCENE.execute(text)
    assert params(SCENE.execute(text, modules="json"))["modules"] == ("json",)
    monkeypatch.setenv("GEOLOOM_FUNCTION_MODULES", "numpy, json")
    assert allowed(["cv2"]) == ("numpy", "json", "cv2")
    SCENE.execute(text)
