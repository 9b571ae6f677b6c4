from __future__ import annotations

import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import geoloom as gl
from geoloom import blobs, execution, function, opening
from geoloom.block import Block
from geoloom.errors import EngineOverloaded, FunctionFailed, FunctionRefused, GeoloomError, ParameterError
from geoloom.function import replay
from geoloom.given import Given
from geoloom.grid import Grid, Tile
from geoloom.harness import Function
from geoloom.image import Image
from geoloom.op import decode
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open
from geoloom.profile import Profile

TILE = Tile(5, 16, 11)
HERE = (5, 16, 11)
PIXELS = np.random.default_rng(7).integers(0, 3000, (2, 5 * 512, 5 * 512), dtype=np.int16)


class PaperEngine:
    """Hands out windows of random pixels, and runs functions as an engine would."""

    def __init__(self) -> None:
        self.chains: dict[str, Any] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[tuple[int, ...]] = []
        self.data = PIXELS
        self.busy = False

    def register(self, chain: Any) -> None:
        self.chains[chain.root] = chain
        self.blobs |= {key: text for key in blobs.needed(chain) if (text := blobs.kept(key)) is not None}

    def blob(self, key: str) -> bytes:
        return self.blobs[key]

    def put_blob(self, content: bytes) -> None:
        self.blobs[blobs.key_of(content)] = content

    def explain(self, key: str) -> dict[str, Any]:
        assert key in self.chains
        return {"tile": list(HERE)}

    def describe(self, chain: Any) -> dict[str, Any]:
        return {"zooms": [0, 9]}

    def window(self, key: str, node: str, z: int, x: int, y: int, ratio: int = 1) -> Given:
        if self.busy:
            raise EngineOverloaded("It is busy.")
        self.asked.append((z, x, y, ratio))
        chain, grid = self.chains[key].at(node), Tile(z, x, y).grid(ratio)
        if chain.node.op == Execute.name:
            op = decode(chain.node)
            assert isinstance(op, Execute)
            return self.result(chain.at(chain.node.inputs[0]), grid, op.around)
        return self.result(chain, grid, 0)

    def result(self, chain: Any, grid: Grid, margin: int) -> Given:
        op = decode(chain.node)
        if isinstance(op, Execute):
            if margin:
                inner = self.result(chain, grid.expand(margin), 0)
                return Given(inner.data, inner.valid, inner.names, grid, margin)
            given = self.result(chain.at(chain.node.inputs[0]), grid, op.around)
            text = Function(self.blobs[op.text].decode(), op.main, op.modules)
            args, kwargs = op.call()
            result = text.call(given, args, kwargs, dtype=op.dtype, bands=len(op.bands))
            return Given.of(result.block(), op.bands, grid)
        if chain.node.op == "select":
            return self.result(chain.at(chain.node.inputs[0]), grid, margin)
        around = grid.expand(margin)
        origin = Tile(TILE.z, TILE.x - 2, TILE.y - 2).grid(grid.cols // 256)
        row, col = around.row - origin.row, around.col - origin.col
        window = self.data[:, row : row + around.rows, col : col + around.cols]
        valid = np.ones((1, *window.shape[1:]), np.bool_)
        return Given.of(Block(window, valid), ("red", "nir"), grid, margin)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> PaperEngine:
    made = PaperEngine()
    for module in (function, opening):
        monkeypatch.setattr(module, "connected", lambda: made)
    return made


@pytest.fixture
def image() -> Image:
    return Image(Open(href="/data/scene.tif").chain(), Profile(("red", "nir"), "int16"), {})


@pytest.fixture
def fresh_kernel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forget what this process captured, as a kernel that was started again."""

    def forget() -> None:
        monkeypatch.setattr(blobs, "_kept", {})
        monkeypatch.setattr(execution, "_originals", {})

    return forget


def difference(img, factor=1):  # type: ignore[no-untyped-def]
    return (img[1] - img[0]) * factor


SCALE = 3


def scaled(img):  # type: ignore[no-untyped-def]
    return img[0] * SCALE


def smooth(img):  # type: ignore[no-untyped-def]
    return scipy.ndimage.maximum_filter(img[0], 5)


def seventh(values):  # type: ignore[no-untyped-def]
    return values[7]


def fails_on_tiles(img):  # type: ignore[no-untyped-def]
    if img.shape[1] < 200:
        return img[0]
    return seventh(img)


def fails_on_dense_tiles(img):  # type: ignore[no-untyped-def]
    if img.shape[1] > 256:
        raise OverflowError("too many")
    return img[0]


def fails_on_ramps(img):  # type: ignore[no-untyped-def]
    if img.shape[1] < 200:
        raise ValueError("only real pixels will do")
    return np.stack([img[0] / 7.0, img[1] / 7.0, img[0] / 2.0])


def fails_everywhere(img):  # type: ignore[no-untyped-def]
    return img[img.shape[1]]


def needs_clouds(img):  # type: ignore[no-untyped-def]
    return img[0] / img[0][img[0] > 9000].max()


def gives_a_part(img):  # type: ignore[no-untyped-def]
    return img[0] if img.shape[1] < 200 else img[0, :9]


def talks(img):  # type: ignore[no-untyped-def]
    print("tile of", img.shape)  # noqa: T201
    return img[0]


def is_stopped(img):  # type: ignore[no-untyped-def]
    if img.shape[1] < 200:
        return img[0]
    raise KeyboardInterrupt


def frames_of(error: BaseException) -> list[tuple[str, str]]:
    """(file, function) of a traceback, without the test's own."""
    frames = traceback.extract_tb(error.__traceback__)
    return [(frame.filename, frame.name) for frame in frames][1:]


class TestExecute:
    def test_it_is_public_and_no_test(self) -> None:
        assert gl.test_execute is function.test_execute
        assert not gl.test_execute.__test__

    def test_of_a_good_function_all_is_well_and_it_is_printed(
        self, image: Image, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = gl.test_execute(difference, image=image, factor=3)
        printed = capsys.readouterr().out
        assert report.passed, printed
        assert printed == f"{report}\n"
        assert printed.startswith("difference on tile 5/16/11: all is well\n")
        assert {check.ok for check in report.checks} == {True}
        assert report.input.data.dtype == np.int32
        assert report.output is not None
        np.testing.assert_array_equal(
            report.output.data[0], (report.input.data[1] - report.input.data[0]) * 3
        )
        assert report.bands == ("difference",)
        assert report._repr_html_().count("<img") == 3

    def test_prints_go_where_they_always_go_and_once(
        self, image: Image, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gl.test_execute(talks, image=image)
        assert capsys.readouterr().out.splitlines()[:2] == [
            "tile of (2, 256, 256)",
            "talks on tile 5/16/11: all is well",
        ]

    def test_of_a_slow_function_it_is_said_how_often_it_runs(
        self, image: Image, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(function, "PATIENCE", 0.0)
        gl.test_execute(difference, image=image)
        said = capsys.readouterr().out.splitlines()[0]
        assert re.fullmatch(r"difference takes \d\.\d s for a tile; the checks take some \d+ s more\.", said)

    def test_the_tile_can_be_named(self, image: Image, engine: PaperEngine) -> None:
        assert gl.test_execute(difference, image=image, tile=(5, 17, 11)).tile == Tile(5, 17, 11)
        assert engine.asked[0] == (5, 17, 11, 1)
        assert gl.test_execute(difference, image=image, tile=TILE).tile == TILE

    @pytest.mark.parametrize("size", [0.99, 0.6])
    def test_a_bbox_is_the_tile_that_shows_it(
        self, image: Image, size: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        box = TILE.bounds()
        middle, half = (box.west + box.east) / 2, size * (box.east - box.west) / 2
        report = gl.test_execute(
            difference, image=image, bbox=(middle - half, box.south + 1, middle + half, box.north - 1)
        )
        assert report.tile == TILE

    @pytest.mark.parametrize("bbox", [(8.0, 45.0, 8.0001, 45.0001), (8.0, 45.0, 8.0, 45.0)])
    def test_a_tiny_bbox_is_shown_as_fine_as_the_image_is(
        self, image: Image, bbox: tuple[float, float, float, float]
    ) -> None:
        assert function._place(image, None, bbox) == Tile.at(8.0, 45.0, 9)

    def test_a_bbox_may_cross_the_antimeridian_or_hold_the_world(self, image: Image) -> None:
        assert function._place(image, None, (179.9, 10.0, -179.8, 10.1)).x in (0, 511)
        assert function._place(image, None, (-180.0, -85.0, 179.99, 85.0)) == Tile(0, 0, 0)

    def test_a_margin_that_is_too_small_is_said(self, image: Image) -> None:
        checks = {check.name: check for check in gl.test_execute(smooth, image=image, margin=1).checks}
        assert [name for name, check in checks.items() if check.ok is False] == ["seams"]
        assert "try margin=2" in checks["seams"].message
        assert gl.test_execute(smooth, image=image, margin=2).passed

    def test_what_it_raises_is_raised_from_the_persons_own_lines(self, image: Image) -> None:
        with pytest.raises(IndexError, match="index 7 is out of bounds") as caught:
            gl.test_execute(fails_on_tiles, image=image)
        frames = frames_of(caught.value)
        assert frames[-2:] == [(__file__, "fails_on_tiles"), (__file__, "seventh")]
        assert {file for file, _ in frames[:-2]} == {function.__file__}
        assert "fails_on_tiles ran on tile 5/16/11." in caught.value.__notes__[0]
        locals_of = caught.traceback[-2].frame.f_locals
        assert locals_of["img"].shape == (2, 256, 256)

    def test_ipython_leaves_the_frames_between_out(self, image: Image) -> None:
        with pytest.raises(IndexError) as caught:
            gl.test_execute(fails_on_tiles, image=image)
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        assert all("__tracebackhide__" in frame.f_locals for frame in frames[1:-2])

    def test_a_traceback_ends_in_the_persons_own_lines(self, image: Image) -> None:
        """What numpy's own lines would show is in the message, and a debugger is to stand in the cell."""
        with pytest.raises(ValueError, match="zero-size array") as caught:
            gl.test_execute(needs_clouds, image=image)
        assert frames_of(caught.value)[-1] == (__file__, "needs_clouds")

    def test_where_made_up_pixels_fail_real_ones_are_tried(self, image: Image) -> None:
        report = gl.test_execute(fails_on_ramps, image=image)
        wrong = {check.name: check.message for check in report.checks if check.ok is False}
        assert list(wrong) == ["trial"]
        assert "only real pixels will do" in wrong["trial"]
        assert report.output is not None
        assert report.output.data.dtype == np.float64
        assert report.bands == ("fails_on_ramps_1", "fails_on_ramps_2", "fails_on_ramps_3")
        assert gl.test_execute(fails_on_ramps, image=image, dtype="float32", bands=["a", "b", "c"]).passed

    def test_a_failed_trial_shows_the_line_as_well(self, image: Image) -> None:
        with pytest.raises(FunctionFailed, match="fails_everywhere, line 2: IndexError") as caught:
            image.execute(fails_everywhere)
        assert caught.value.__cause__ is not None
        assert frames_of(caught.value.__cause__)[-1] == (__file__, "fails_everywhere")

    def test_what_fails_everywhere_is_looked_at_on_real_pixels(self, image: Image) -> None:
        with pytest.raises(IndexError, match="index 256"):
            gl.test_execute(fails_everywhere, image=image)

    def test_what_cannot_be_used_is_said_with_the_input(self, image: Image) -> None:
        report = gl.test_execute(gives_a_part, image=image)
        assert not report.passed
        assert report.output is None
        assert "shape (9, 256)" in report.checks[0].message

    def test_arguments_that_do_not_fit_are_said(self, image: Image) -> None:
        with pytest.raises(GeoloomError, match="difference"):
            gl.test_execute(difference, 1, 2, 3, image=image)

    def test_an_array_is_no_image(self) -> None:
        with pytest.raises(ParameterError, match="image= has to be an image, not ndarray"):
            gl.test_execute(difference, image=np.zeros((2, 3, 3)))

    @pytest.mark.parametrize(
        ("place", "words"),
        [
            ({"tile": 3}, r"tile = 3 .*It is \(z, x, y\)"),
            ({"tile": (3, 1)}, r"tile = \(3, 1\)"),
            ({"bbox": (1, 2)}, r"bbox = \(1, 2\) .*\(west, south, east, north\)"),
            ({"bbox": (500_000, 4_000_000, 500_100, 4_000_100)}, "no rectangle in degrees"),
            ({"bbox": (1, 5, 2, 4)}, "no rectangle"),
        ],
    )
    def test_a_place_that_is_none_is_said(self, image: Image, place: Any, words: str) -> None:
        with pytest.raises(ParameterError, match=words):
            gl.test_execute(difference, image=image, **place)

    def test_defaults_of_the_notebook_stay_as_they_are(self, image: Image) -> None:
        def counts(img, seen=[]):  # type: ignore[no-untyped-def]  # noqa: B006
            seen.append(1)
            return img[0] * 0 + len(seen)

        assert gl.test_execute(counts, image=image).passed
        assert counts.__defaults__ == ([],)

    def test_one_interrupt_in_the_trial_ends_it(self, image: Image, engine: PaperEngine) -> None:
        def stopped(img):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            gl.test_execute(stopped, image=image)

    def test_stopping_the_kernel_shows_where_it_was(self, image: Image) -> None:
        with pytest.raises(KeyboardInterrupt) as caught:
            gl.test_execute(is_stopped, image=image)
        assert frames_of(caught.value)[-1] == (__file__, "is_stopped")


class TestReplay:
    def test_what_fails_is_raised(self, image: Image) -> None:
        failing = image.execute(fails_on_tiles).execute(difference, bands=["d"], dtype="int32")
        with pytest.raises(IndexError) as caught:
            failing.replay(*HERE)
        assert frames_of(caught.value)[-1] == (__file__, "seventh")

    def test_functions_run_in_their_order_each_on_what_the_engine_gives_it(self, image: Image) -> None:
        first = image.execute(difference, factor=2)
        report = first.execute(smooth, margin=2).replay(*HERE)
        assert report.passed
        assert report.function == "smooth"
        assert report.input.names == ("difference",)
        assert report.input.data.shape == (1, 260, 260)

    def test_where_nothing_fails_the_report_says_so(
        self, image: Image, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = image.execute(difference).replay(*HERE)
        assert report.passed
        assert "✓ replay: it does not fail here, nor on the tile of dense screens" in capsys.readouterr().out

    def test_what_fails_on_dense_screens_alone_is_raised_too(self, image: Image) -> None:
        with pytest.raises(OverflowError, match="too many"):
            image.execute(fails_on_dense_tiles).replay(*HERE)

    def test_what_cannot_be_used_is_said(self, image: Image) -> None:
        report = image.execute(gives_a_part).replay(*HERE)
        assert {check.name: check.ok for check in report.checks} == {"replay": False, "result": False}

    def test_an_image_without_functions_has_nothing_to_replay(self, image: Image) -> None:
        with pytest.raises(ParameterError, match="nothing to replay"):
            image.replay(*HERE)

    def test_what_changed_since_is_said_and_the_old_is_replayed(
        self, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = image.execute(scaled)
        monkeypatch.setattr(sys.modules[__name__], "SCALE", 5)
        report = old.replay(*HERE)
        assert report.output is not None
        np.testing.assert_array_equal(report.output.data[0], report.input.data[0] * 3)
        (wrong,) = (check for check in report.checks if check.ok is False)
        assert wrong.name == "text"
        assert "What it uses has changed" in wrong.message

    def test_a_text_from_elsewhere_runs_once_it_is_trusted(self, image: Image, fresh_kernel: Any) -> None:
        failing = image.execute(fails_on_tiles)
        function.connected().register(failing.chain)
        fresh_kernel()
        with pytest.raises(FunctionRefused, match="came with the image and not from this notebook") as caught:
            failing.replay(*HERE)
        assert "gl.functions(image)" in str(caught.value)
        assert "gl.trust(image)" in str(caught.value)
        assert "return seventh(img)" in gl.functions(failing)["fails_on_tiles"]
        gl.trust(failing)
        with pytest.raises(IndexError) as raised:
            failing.replay(*HERE)
        lines = [frame.line for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert lines[-2:] == ["return seventh(img)", "return values[7]"]

    def test_no_text_is_hidden_by_another_of_the_same_name(self, image: Image) -> None:
        texts = [f"def f(img):\n    return img[0] * {n}" for n in (2, 3, 3)]
        found = gl.functions(gl.stack(*map(image.execute, texts)))
        assert list(found) == ["f", "f (2)"]
        assert {text.rstrip()[-1] for text in found.values()} == {"2", "3"}

    def test_a_busy_engine_is_said_as_such(self, image: Image, engine: PaperEngine) -> None:
        failing = image.execute(fails_on_tiles)
        engine.busy = True
        with pytest.raises(EngineOverloaded):
            failing.replay(*HERE)


@pytest.fixture(autouse=True)
def lines() -> Iterator[None]:
    """Texts of functions leave with the test."""
    yield
    for name in [one for one in linecache.cache if one.startswith("<function ")]:
        del linecache.cache[name]


def test_a_failure_without_an_exception_is_no_traceback(image: Image) -> None:
    local = function.Local(image.execute(gives_a_part))
    found = local.run(local.given(TILE), TILE)
    assert isinstance(found, FunctionFailed)


def test_replay_is_the_images_method(image: Image) -> None:
    assert replay(image.execute(difference), *HERE).passed
