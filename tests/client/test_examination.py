from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from geoloom import examination
from geoloom.block import Block
from geoloom.errors import EngineOverloaded, FunctionStopped
from geoloom.examination import RUNS, Subject, examine
from geoloom.given import Given
from geoloom.grid import Tile
from geoloom.harness import Function
from geoloom.report import Check

TILE = Tile(5, 16, 11)


@dataclass
class World:
    """Pixels of three by three tiles around `TILE`, and more."""

    margin: int = 0
    valid: float = 1.0
    dtype: str = "int16"
    data: np.ndarray = field(init=False)
    mask: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(7)
        size = 5 * 256
        self.data = random.integers(0, 3000, (2, size, size)).astype(self.dtype)
        self.mask = random.random((1, size, size)) < self.valid

    def ask(self, tile: Tile) -> Given:
        around = tile.grid().expand(self.margin)
        row, col = around.row - (TILE.y - 2) * 256, around.col - (TILE.x - 2) * 256
        window = np.s_[:, row : row + around.rows, col : col + around.cols]
        block = Block(np.where(self.mask, self.data, 0)[window], self.mask[window])
        return Given.of(block, ("red", "nir"), tile.grid(), self.margin)


def checks_of(
    text: str,
    world: World | None = None,
    at_hand: str | None = None,
    engines: Callable[[Subject, Given], Given] | None = None,
    dtype: str = "int32",
    tile: Tile = TILE,
    args: Sequence[Any] = (),
) -> dict[str, Check]:
    world = world or World()
    subject = Subject(
        captured=Function(text, "f"),
        at_hand=None if at_hand is None else Function(at_hand, "f"),
        args=args,
        kwargs={},
        dtype=dtype,
        bands=("f",),
    )
    given = world.ask(tile)

    def engine() -> Given:
        if engines is not None:
            return engines(subject, given)
        result = subject.run(given)
        return Given(result.data, result.valid, ("f",), tile.grid())

    result, checks = examine(subject, given, tile, world.ask, engine)
    assert (result is None) == (checks[0].name == "result" and not checks[0].ok)
    return {check.name: check for check in checks}


def wrong(checks: dict[str, Check]) -> list[str]:
    return [name for name, check in checks.items() if check.ok is False]


WELL = "def f(img):\n    return img[1] - img[0]\n"


def test_of_a_good_function_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "QUICK", 60.0)
    checks = checks_of(WELL, at_hand=WELL)
    assert [check.ok for check in checks.values()] == [True] * 8
    assert "2 × 256 × 256 of int32, all valid" in checks["pixels"].message
    assert "1 × 256 × 256 of int32" in checks["result"].message
    assert "MB" in checks["repeated"].message


def test_slow_functions_do_not_run_more_often_than_is_said() -> None:
    text = "def f(img):\n    numpy.geoloom_runs = getattr(numpy, 'geoloom_runs', 0) + 1\n    return img[0]\n"
    np.geoloom_runs = 0  # type: ignore[attr-defined]
    try:
        checks_of(text, at_hand=text, engines=lambda subject, given: replace(given, data=given.data[:1]))
        assert np.geoloom_runs == RUNS  # type: ignore[attr-defined]
    finally:
        del np.geoloom_runs  # type: ignore[attr-defined]


def test_what_is_no_image_is_said_and_nothing_else_is_looked_at() -> None:
    checks = checks_of("def f(img):\n    return img[:, :3]\n")
    assert wrong(checks) == ["result"]
    assert len(checks) == 1
    assert "shape (2, 3, 256)" in checks["result"].message


def test_arguments_that_a_function_changes_are_new_each_time() -> None:
    text = "def f(img, seen):\n    seen.append(1)\n    return img[0] * 0 + len(seen)"
    assert wrong(checks_of(text, args=[[1]])) == []


def test_a_place_without_valid_pixels_is_said() -> None:
    checks = checks_of(WELL, World(valid=0.0))
    assert wrong(checks) == ["pixels"]
    assert "tile= or bbox=" in checks["pixels"].message
    assert "49.9 % valid" in checks_of(WELL, World(valid=0.5))["pixels"].message


class TestRepeated:
    def test_random_numbers_of_numpys_own_generator_begin_anew_each_time(self) -> None:
        text = "def f(img):\n    return np.random.rand(*img.shape[1:])\n"
        assert wrong(checks_of(text, dtype="float64")) == ["seams"]

    @pytest.mark.parametrize(
        "text",
        [
            "def f(img):\n    return np.random.default_rng().random(img.shape[1:])\n",
            "def f(img):\n    numpy.geoloom_calls = getattr(numpy, 'geoloom_calls', 0) + 1.0\n"
            "    return img[0] + numpy.geoloom_calls\n",
        ],
    )
    def test_another_result_each_time_is_said(self, text: str) -> None:
        checks = checks_of(text, dtype="float64")
        assert "repeated" in wrong(checks)
        assert "differ when it runs twice" in checks["repeated"].message

    def test_the_functions_memory_is_measured_unless_that_takes_long(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = "def f(img):\n    big = np.ones(5_000_000)\n    return img[0]\n"
        monkeypatch.setattr(examination, "QUICK", 0.0)
        assert checks_of(text)["repeated"].message == "the same twice"
        monkeypatch.setattr(examination, "QUICK", 60.0)
        message = checks_of(text)["repeated"].message
        assert 40 <= float(message.split(" MB")[0].split()[-1]) < 60


MEAN = "import scipy.ndimage\ndef f(img):\n    return scipy.ndimage.uniform_filter(img[0], {size})\n"


class TestSeams:
    @pytest.mark.parametrize(("size", "margin", "reach"), [(3, 0, 1), (5, 0, 2), (5, 1, 1), (31, 4, 11)])
    def test_a_margin_that_is_too_small_is_said_with_the_one_to_try(
        self, size: int, margin: int, reach: int
    ) -> None:
        checks = checks_of(MEAN.format(size=size), World(margin))
        assert wrong(checks) == ["seams"]
        assert f"up to {reach} from the edge" in checks["seams"].message
        assert f"try margin={size // 2}" in checks["seams"].message

    @pytest.mark.parametrize(("size", "margin"), [(3, 1), (5, 2), (5, 4)])
    def test_a_margin_that_suffices_is_well(self, size: int, margin: int) -> None:
        assert wrong(checks_of(MEAN.format(size=size), World(margin, valid=0.9))) == []

    @pytest.mark.parametrize("axis", [0, 1])
    def test_a_filter_along_one_axis_is_seen(self, axis: int) -> None:
        highest = f"scipy.ndimage.maximum_filter1d(img[0], 5, axis={axis})"
        checks = checks_of(f"import scipy.ndimage\ndef f(img):\n    return {highest}\n")
        assert wrong(checks) == ["seams"]
        assert "try margin=2" in checks["seams"].message

    @pytest.mark.parametrize(
        "how", ["img[0] > img[0].mean()", "img[0] - img[0].sum() % 1000", "np.sort(img[0])"]
    )
    def test_a_result_that_depends_on_the_whole_window_is_said(self, how: str) -> None:
        checks = checks_of(f"def f(img):\n    return {how}\n")
        assert wrong(checks) == ["seams"]
        assert "No margin cures that" in checks["seams"].message

    def test_sums_in_another_order_are_no_seam(self) -> None:
        text = (
            "import scipy.ndimage\ndef f(img):\n"
            "    return scipy.ndimage.uniform_filter1d(img[0].astype('float32') / 7, 9, axis=1)\n"
        )
        checks = checks_of(text, World(4), dtype="float32")
        assert wrong(checks) == []

    @pytest.mark.parametrize("tile", [Tile(5, 17, 12), Tile(5, 15, 10)])
    def test_neighbours_lie_where_pixels_are(self, tile: Tile) -> None:
        """At the edge of a scene the tile beside may be empty, and shows nothing."""
        world = World()
        world.mask[:, :256], world.mask[:, :, :256] = False, False
        world.mask[:, -256:], world.mask[:, :, -256:] = False, False
        asked: list[Tile] = []

        def ask(one: Tile) -> Given:
            asked.append(one)
            return World.ask(world, one)

        world.ask = ask  # type: ignore[method-assign]
        assert wrong(checks_of(MEAN.format(size=3), world, tile=tile)) == ["seams"]

    def test_a_failure_in_the_next_tile_is_said_with_its_name(self) -> None:
        world = World()
        world.data[:, 512:768, 768:1024] = 5000
        text = "def f(img):\n    assert img.max() < 4000, 'too bright'\n    return img[0]\n"
        world.data[:, 768:1024, 512:768] = 5000
        world.data[:, 256:512, 512:768] = 5000
        world.data[:, 512:768, 256:512] = 5000
        checks = checks_of(text, world)
        assert wrong(checks) == ["seams"]
        assert "fails in the next tile, 5/1" in checks["seams"].message
        assert "too bright" in checks["seams"].message

    def test_there_is_no_next_tile_at_zoom_0(self) -> None:
        given = Given(
            np.ones((1, 256, 256), np.int32), np.ones((1, 256, 256), np.bool_), ("b",), Tile(0, 0, 0).grid()
        )
        subject = Subject(Function("def f(img):\n    return img[0]\n", "f"), None, (), {}, "int32", ("f",))
        _, checks = examine(subject, given, Tile(0, 0, 0), lambda tile: given, lambda: given)
        assert {check.name: check.ok for check in checks}["seams"] is None


def test_zeros_that_fail_are_said() -> None:
    text = (
        "def f(img):\n    if not img.any():\n        raise ZeroDivisionError('nothing')\n    return img[0]\n"
    )
    checks = checks_of(text)
    assert wrong(checks) == ["zeros"]
    assert "ZeroDivisionError: nothing" in checks["zeros"].message


def test_one_valid_pixel_must_do_and_none_need_not() -> None:
    text = "def f(img, valid):\n    assert valid.sum() >= {least}, 'few'\n    return img[0]\n"
    assert wrong(checks_of(text.format(least=3))) == ["invalid"]
    none = checks_of(text.format(least=1))
    assert wrong(none) == []
    assert none["invalid"].ok is None
    assert "does not call it" in none["invalid"].message


def test_a_text_that_is_not_the_function_is_said() -> None:
    checks = checks_of(WELL, at_hand=WELL.replace("-", "+"))
    assert wrong(checks) == ["text"]
    assert checks_of(WELL)["text"].ok is None


class TestEngine:
    def test_another_result_is_said(self) -> None:
        def other(subject: Subject, given: Given) -> Given:
            result = subject.run(given)
            data = result.data.copy()
            data[0, 3, 4:7] += 1
            return Given(data, result.valid, ("f",), given.grid)

        checks = checks_of(WELL, engines=other)
        assert wrong(checks) == ["engine"]
        assert "3 pixels of the engine's tile differ" in checks["engine"].message

    def test_rounding_is_said_and_no_problem(self) -> None:
        def other(subject: Subject, given: Given) -> Given:
            result = subject.run(given)
            return Given(np.nextafter(result.data, np.float32(9)), result.valid, ("f",), given.grid)

        check = checks_of("def f(img):\n    return img[0] / 7 + 1\n", engines=other, dtype="float32")[
            "engine"
        ]
        assert check.ok
        assert "only by rounding" in check.message

    def test_other_bands_are_said(self) -> None:
        check = checks_of(WELL, engines=lambda subject, given: given)["engine"]
        assert check.ok is False
        assert "(2, 256, 256), not (1, 256, 256)" in check.message

    def test_a_small_dtype_comes_back_wider(self) -> None:
        def widened(subject: Subject, given: Given) -> Given:
            result = subject.run(given)
            return Given(result.data.astype(np.int32), result.valid, ("f",), given.grid)

        checks = checks_of(
            "def f(img):\n    return (img[0] > 9).astype('uint8')\n", engines=widened, dtype="uint8"
        )
        assert checks["engine"].ok

    @pytest.mark.parametrize(
        ("error", "ok"), [(EngineOverloaded("It is busy."), None), (FunctionStopped("It took 5 s."), False)]
    )
    def test_an_engine_that_gives_none_does_not_stop_the_others(self, error: Any, ok: bool | None) -> None:
        def fail(subject: Subject, given: Given) -> Given:
            raise error

        checks = checks_of(WELL, engines=fail)
        assert checks["engine"].ok is ok
        assert error.message in checks["engine"].message
        assert len(checks) == 8


def test_stopping_the_kernel_stops_all() -> None:
    with pytest.raises(KeyboardInterrupt):
        checks_of("def f(img):\n    raise KeyboardInterrupt\n")
