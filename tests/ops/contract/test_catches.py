"""The contract suite finds the defects it is there for: each op here breaks one promise."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from geoloom import op as module
from geoloom.block import Block
from geoloom.grid import Grid
from geoloom.op import Image, Op, Output, Profile, image, op, param, registry
from geoloom.profile import Look


@pytest.fixture(scope="module")
def contract() -> ModuleType:
    """The contract's tests, as functions."""
    spec = importlib.util.spec_from_file_location("contract", Path(__file__).with_name("test_contract.py"))
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Ops declared by a test leave the registry with it."""
    registry()
    kept = {name: dict(versions) for name, versions in module._REGISTRY.items()}
    yield
    module._REGISTRY.clear()
    module._REGISTRY.update(kept)


class Broken(Op):
    """The image."""

    values: Image = image(doc="The image.")
    bandwise = True
    pointwise = True

    def profile(self, *inputs: Profile) -> Profile:
        return replace(inputs[0], dtype="float32", look=None, range=None, constant=None)


def less_the_windows_mean(self: Op, values: Block, grid: Grid) -> Any:
    data = values.data.astype(np.float32)
    return data - data.mean()


def valid_everywhere(self: Op, values: Block, grid: Grid) -> Block:
    return Block(values.data.astype(np.float32), np.ones((1, *values.shape), np.bool_))


def in_place(self: Op, values: Block, grid: Grid) -> Any:
    if values.data.flags.writeable:
        values.data[:] = 1
    return values.data.astype(np.float32)


def of_the_inputs_dtype(self: Op, values: Block, grid: Grid) -> Any:
    return values.data.copy()


def beyond_its_range(self: Op, values: Block, grid: Grid) -> Any:
    return values.data.astype(np.float32) + 2


def not_zero_where_invalid(self: Op, values: Block, grid: Grid) -> Block:
    return Block(values.data.astype(np.float32) + 1, values.valid)


def one_band_only(self: Op, values: Block, grid: Grid) -> Any:
    return values.data[:1].astype(np.float32)


def by_position(self: Op, values: Block, grid: Grid) -> Any:
    return (
        values.data.astype(np.float32) + np.arange(values.bands, dtype=np.float32)[:, np.newaxis, np.newaxis]
    )


def by_place(self: Op, values: Block, grid: Grid) -> Any:
    return values.data.astype(np.float32) * grid.ground_resolution()[0].astype(np.float32)


def shifted(self: Op, values: Block, grid: Grid) -> Any:
    return np.roll(values.data, 1, axis=2).astype(np.float32)


@pytest.mark.parametrize(
    ("kernel", "test"),
    [
        (less_the_windows_mean, "test_tiles_computed_apart_equal_one_window"),
        (shifted, "test_tiles_computed_apart_equal_one_window"),
        (shifted, "test_each_pixel_is_computed_by_itself"),
        (less_the_windows_mean, "test_each_pixel_is_computed_by_itself"),
        (by_place, "test_each_pixel_is_computed_by_itself"),
        (valid_everywhere, "test_from_invalid_pixels_comes_nothing_valid"),
        (in_place, "test_inputs_are_never_modified"),
        (of_the_inputs_dtype, "test_the_result_is_as_declared"),
        (not_zero_where_invalid, "test_the_result_is_as_declared"),
        (one_band_only, "test_the_result_is_as_declared"),
        (by_position, "test_some_bands_equal_those_of_all"),
    ],
)
def test_broken_kernels(kernel: Callable[..., Any], test: str, contract: ModuleType, cases: Any) -> None:
    cls = op(name="broken_of_test")(
        type("BrokenOfTest", (Broken,), {"kernel": kernel, "__module__": __name__})
    )
    with pytest.raises(AssertionError):
        getattr(contract, test)(cls.name, cases)


def test_a_good_kernel_passes_them_all(contract: ModuleType, cases: Any) -> None:
    def kernel(self: Op, values: Block, grid: Grid) -> Any:
        return values.data.astype(np.float32)

    cls = op(name="good_of_test")(type("GoodOfTest", (Broken,), {"kernel": kernel, "__module__": __name__}))
    for test in (
        "test_tiles_computed_apart_equal_one_window",
        "test_each_pixel_is_computed_by_itself",
        "test_from_invalid_pixels_comes_nothing_valid",
        "test_inputs_are_never_modified",
        "test_the_result_is_as_declared",
        "test_some_bands_equal_those_of_all",
        "test_a_number_equals_an_image_of_that_number",
        "test_looks_are_uint8_of_their_bands",
    ):
        getattr(contract, test)(cls.name, cases)


def test_a_margin_that_is_too_small(contract: ModuleType, cases: Any) -> None:
    @op
    class NarrowOfTest(Broken):
        """Reads further than it says."""

        margin = 1

        def kernel(self, values: Block, grid: Grid) -> Any:
            return np.roll(values.data, 2, axis=2)[:, 1:-1, 1:-1].astype(np.float32)

    with pytest.raises(AssertionError):
        contract.test_tiles_computed_apart_equal_one_window(NarrowOfTest.name, cases)


def test_a_result_beyond_its_range(contract: ModuleType, cases: Any) -> None:
    @op
    class BeyondOfTest(Op):
        """Says 0 to 1."""

        values: Image = image(doc="The image.")
        output = Output(range=(0, 1))
        kernel = beyond_its_range

    with pytest.raises(AssertionError):
        contract.test_the_result_is_as_declared(BeyondOfTest.name, cases)


def test_a_look_of_the_wrong_dtype(contract: ModuleType, cases: Any) -> None:
    @op
    class GreyOfTest(Broken):
        """Grey, as float."""

        def profile(self, *inputs: Profile) -> Profile:
            return replace(super().profile(*inputs), look=Look("grey"))

        kernel = beyond_its_range

    with pytest.raises(AssertionError):
        contract.test_looks_are_uint8_of_their_bands(GreyOfTest.name, cases)


def test_parameters_that_crash(contract: ModuleType, inputs_for: Any) -> None:
    @op
    class CrashOfTest(Broken):
        """Its coercion takes only text."""

        label: str = param("a", doc="Any text.", coerce=lambda value: value.strip())

    with pytest.raises(AttributeError):
        contract.test_nonsense_is_refused_in_words(CrashOfTest.name, inputs_for)


@pytest.mark.parametrize(
    ("doc", "unit"),
    [("A number", "1"), ("", "1"), ("A number.", None)],
    ids=["no stop", "no text", "no unit"],
)
def test_documentation_with_gaps(doc: str, unit: str | None, contract: ModuleType) -> None:
    @op
    class SilentOfTest(Broken):
        """The image."""

        number: float = param(1.0, doc=doc, unit=unit)

    with pytest.raises(AssertionError):
        contract.test_it_is_documented(SilentOfTest.name)


def test_what_a_new_op_is_told(contract: ModuleType) -> None:
    @op
    class NewOfTest(Broken):
        """The image."""

    with pytest.raises(AssertionError, match=r"no golden key yet; run: python tests/golden/make_ops\.py"):
        contract.test_the_golden_key(NewOfTest.name)
    with pytest.raises(AssertionError, match=r"is called new_of_test\.py"):
        contract.test_its_name_is_the_files_or_a_familys(NewOfTest.name)
    with pytest.raises(AssertionError, match="Image lacks new_of_test"):
        contract.test_its_method_is_its_own(NewOfTest.name)


def test_a_changed_meaning_without_a_new_version(contract: ModuleType) -> None:
    @op(name="slope")
    class SlopeOfTest(Broken):
        """Steeper."""

        version = 2
        factor: float = param(2.0, doc="Factor.", unit="1")

    with pytest.raises(AssertionError, match="slope has a new version"):
        contract.test_the_golden_key("slope")


def test_fields_that_hide_an_ops_own(contract: ModuleType) -> None:
    @op
    class HidingOfTest(Broken):
        """The image."""

        restrict: float = param(1.0, doc="A number.", unit="1")

    with pytest.raises(AssertionError):
        contract.test_no_field_hides_another(HidingOfTest.name)
