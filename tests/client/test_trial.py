from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import FunctionFailed
from geoloom.given import DTYPES, widened
from geoloom.harness import Function
from geoloom.profile import Profile
from geoloom.trial import SIDE, ramp, try_out


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_the_ramp_rises_within_the_dtype(dtype: str) -> None:
    values = ramp(3, (10, 12), dtype)
    assert values.shape == (3, 10, 12)
    assert values.dtype == widened(dtype)
    assert (values.astype(dtype).astype(values.dtype) == values).all()
    assert values.min() < values.max()
    assert not np.array_equal(values[0], values[1])
    assert np.array_equal(values, ramp(3, (10, 12), dtype))


def tried(text: str, margin: int = 0, dtype: str = "uint16") -> tuple[str, tuple[int, ...]]:
    found = try_out(Function(text, "f"), Profile(("a", "b"), dtype), margin, [], {})
    return str(found.data.dtype), found.data.shape


@pytest.mark.parametrize(
    ("body", "dtype", "bands"),
    [
        ("img[0] > 5", "bool", 1),
        ("img[0] - img[1]", "int32", 1),
        ("img / 2", "float64", 2),
        ("(img / 2).astype('float32')[:1]", "float32", 1),
        ("img.astype('uint8')", "uint8", 2),
        ("(img > 3).sum(axis=0)", "int64", 1),
    ],
)
def test_bands_and_dtype_show(body: str, dtype: str, bands: int) -> None:
    text = f"def f(img): return {body}"
    assert tried(text) == (dtype, (bands, SIDE, SIDE))
    assert tried(text, margin=3) == (dtype, (bands, SIDE, SIDE))


def test_a_failure_says_that_it_was_a_trial_and_what_to_do() -> None:
    with pytest.raises(FunctionFailed, match="IndexError") as caught:
        tried("def f(img): return img[5]")
    assert caught.value.line == 1
    assert "trial on 32 × 32 made-up pixels" in str(caught.value)
    assert "bands=[" in str(caught.value)


@pytest.mark.parametrize("body", ["imgg[0]", "img.no_such_thing", "__import__('os')"])
def test_what_is_no_matter_of_values_is_not_blamed_on_them(body: str) -> None:
    with pytest.raises(FunctionFailed) as caught:
        tried(f"def f(img): return {body}")
    assert "trial" not in str(caught.value)
