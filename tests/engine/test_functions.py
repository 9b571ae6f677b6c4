"""Users' functions in an evaluation: which may run, what they are given, what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.chain import Chain, key_of
from geoloom.errors import EngineOverloaded, FunctionFailed, FunctionRefused, NotFound
from geoloom.grid import Tile
from geoloom.ops.execute import Execute
from geoloom.ops.focal import FocalMean
from geoloom.ops.open import Open
from geoloom.ops.scale import Scale
from geoloom_engine.evaluate import run
from geoloom_engine.functions import Functions, environment
from geoloom_engine.pipeline import Pipeline
from geoloom_engine.settings import load

TILE = Tile.at(15.05, 45.1, 11)
TEXTS: dict[str, bytes] = {}


def execute(body: str, scene: Chain, **params: Any) -> Chain:
    """The chain of a function of `img`, whose text the engine can find."""
    text = f"def f(img, *args):\n    {body}".encode()
    key = key_of(text)
    TEXTS[key] = text
    return Execute(**{"text": key, "main": "f", "dtype": "int32", **params}).chain(scene)


def missing(key: str) -> bytes:
    raise NotFound("not stored")


@pytest.fixture
def pipeline(tmp_path: Path, in_process: Any) -> Iterator[Pipeline]:
    functions = Functions(in_process, ("numpy", "math"), TEXTS.__getitem__)
    made = Pipeline(load(["--sources", str(tmp_path)], {}), functions)
    yield made
    made.close()
    assert in_process.calls[-1] == "closed"


@pytest.fixture
def scene(tmp_path: Path, new_raster: Callable[[Path], Path]) -> Chain:
    return Open(href=str(new_raster(tmp_path / "scene.tif"))).chain()


def computed(pipeline: Pipeline, chain: Chain, tile: Tile = TILE) -> Block:
    call = pipeline.functions.bound("s", lambda: True, [])
    return run(pipeline.planner, chain, tile.grid(), call)[0]


def test_a_function_is_given_the_pixels_and_its_result_is_the_steps(pipeline: Pipeline, scene: Chain) -> None:
    plain = computed(pipeline, scene)
    found = computed(pipeline, execute("return img[0] * 2 + args[0]", scene, arguments="[[5],{}]"))
    assert plain.valid.any()
    assert np.array_equal(found.data[0], np.where(plain.valid[0], plain.data[0].astype(np.int32) * 2 + 5, 0))
    assert np.array_equal(found.valid, plain.valid)


def test_it_is_named_to_the_sandbox_in_full(pipeline: Pipeline, scene: Chain, in_process: Any) -> None:
    chain = execute("return img[0]", scene, around=2, arguments='[[],{"a":1}]', main="f")
    with pytest.raises(FunctionFailed, match="unexpected keyword"):
        computed(pipeline, chain)
    call, grid = in_process.calls[0]
    assert (call.session, call.function, call.arguments, call.margin) == ("s", "f", '[[],{"a":1}]', 2)
    assert (call.dtype, call.bands) == ("int32", 1)
    assert call.names == pipeline.planner.describe(scene).profile.names
    assert grid == TILE.grid()


def test_a_failure_names_its_node(pipeline: Pipeline, scene: Chain) -> None:
    chain = execute("return img[99]", scene)
    with pytest.raises(FunctionFailed) as caught:
        computed(pipeline, chain)
    assert (caught.value.node, caught.value.op, caught.value.line) == (chain.root, "execute", 2)


def test_where_nothing_is_valid_nothing_is_called(pipeline: Pipeline, scene: Chain, in_process: Any) -> None:
    found = computed(pipeline, execute("return img[0] + 7", scene), Tile.at(-60.0, 10.0, 11))
    assert not found.valid.any()
    assert not found.data.any()
    assert found.data.dtype == np.int32
    assert in_process.calls == []


def test_a_result_is_kept_for_its_own_window_only(pipeline: Pipeline, scene: Chain, in_process: Any) -> None:
    chain = execute("return img[0] * 0 + img.shape[1]", scene, dtype="int32")
    mean = FocalMean(radius=3.0).chain(chain)
    assert set(np.unique(computed(pipeline, chain).data)) <= {0, 256}
    assert set(np.unique(computed(pipeline, chain).data)) <= {0, 256}
    assert len(in_process.calls) == 1
    # The wider window is computed anew, and the narrow one is not cut out of it.
    assert computed(pipeline, mean).data.max() == 262
    assert len(in_process.calls) == 2
    assert computed(pipeline, chain).data.max() == 256
    assert len(in_process.calls) == 2


def test_what_is_above_a_function_is_kept_for_its_own_window_only(
    pipeline: Pipeline, scene: Chain, in_process: Any
) -> None:
    chain = execute("return img[0] * 0 + img.shape[1]", scene, dtype="int32")
    mean = FocalMean(radius=1.0).chain(chain)
    twice = FocalMean(radius=5.0).chain(mean)
    assert computed(pipeline, twice).data.max() == 256 + 2 * 6
    assert computed(pipeline, mean).data.max() == 256 + 2
    assert len(in_process.calls) == 2


def test_prints_come_with_the_tile(pipeline: Pipeline, scene: Chain) -> None:
    chain = Scale(limits=(0.0, 100.0)).chain(execute("print('shape', img.shape[1:]); return img[0]", scene))
    assert pipeline.tile(chain, TILE, 1).printed == ("shape (256, 256)",)
    assert pipeline.tile(chain, TILE, 1).printed == ()


def test_a_wait_is_handed_to_whoever_asks(pipeline: Pipeline, scene: Chain) -> None:
    class Wanted:
        asides = 0

        def __call__(self) -> bool:
            return True

        def aside(self, wait: Callable[[], Any]) -> Any:
            self.asides += 1
            return wait()

    wanted = Wanted()
    chain = Scale(limits=(0.0, 100.0)).chain(execute("return img[0]", scene))
    pipeline.tile(chain, TILE, 1, wanted, "s")
    assert wanted.asides == 1
    assert pipeline.outside(chain) == "function"
    assert pipeline.outside(scene) == ""


def test_texts_are_remembered_or_loaded(in_process: Any) -> None:
    functions = Functions(in_process, ("numpy",), missing)
    functions.keep("1" * 32, b"text")
    assert functions._texts.get("1" * 32, lambda: b"other") == b"text"


def test_modules_that_are_not_allowed_are_refused(pipeline: Pipeline, scene: Chain) -> None:
    chain = execute("return img", scene, modules=("numpy", "torch"))
    with pytest.raises(FunctionRefused, match="f imports torch") as caught:
        pipeline.check(chain)
    assert caught.value.node == chain.root
    assert "numpy, math" in str(caught.value.hint)
    assert "GEOLOOM_FUNCTION_MODULES" in str(caught.value.hint)


def test_an_engine_may_run_none(tmp_path: Path, scene: Chain) -> None:
    engine = Pipeline(load(["--sources", str(tmp_path)], {}))
    with pytest.raises(FunctionRefused, match="runs no functions"):
        engine.check(execute("return img", scene))
    engine.close()


def test_only_trusted_texts_run_where_functions_are_not_locked_in(in_process: Any, scene: Chain) -> None:
    chain = execute("return img", scene)
    text = str(chain.node.params["text"])
    trusted: set[str] = set()
    functions = Functions(in_process, ("numpy",), missing, trusted=trusted.__contains__)
    op = Execute(**chain.node.params)
    with pytest.raises(FunctionRefused, match="was not written in a notebook of this session"):
        functions.check(op)
    trusted.add(text)
    functions.check(op)


def test_results_depend_on_the_versions_of_modules(tmp_path: Path, in_process: Any, scene: Chain) -> None:
    chain = execute("return img[0]", scene)
    versions = []
    for modules in (("numpy",), ("numpy", "scipy")):
        functions = Functions(in_process, modules, missing)
        engine = Pipeline(load(["--sources", str(tmp_path)], {}), functions)
        versions.append((engine.version(chain), engine.version(scene)))
        engine.close()
    assert versions[0][0] != versions[1][0]
    assert versions[0][1] == versions[1][1]
    assert environment(["numpy", "math", "skimage"]) == environment(["skimage", "math", "numpy"])


def test_who_has_had_his_time_computes_no_more(pipeline: Pipeline, scene: Chain, in_process: Any) -> None:
    class Account:
        asked: ClassVar[list[str]] = []

        def check(self, session: str) -> None:
            self.asked.append(session)
            raise EngineOverloaded("You have had your time.")

        def function(self, session: str, seconds: float) -> None: ...

    pipeline.functions.charge_to(Account())
    with pytest.raises(EngineOverloaded, match="had your time"):
        computed(pipeline, execute("return img[0] + 3", scene))
    assert Account.asked == ["s"]
    assert in_process.calls == []
    # Where there is nothing to compute, nobody is asked.
    computed(pipeline, execute("return img[0] + 3", scene), Tile.at(-60.0, 10.0, 11))
    assert Account.asked == ["s"]
