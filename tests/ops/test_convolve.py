"""Convolution, against scipy's correlation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate

from geoloom.errors import ParameterError
from geoloom.op import registry

KERNELS = [
    ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    ((1, 2, 3, 4, 5),),
    ((1,), (2,), (3,)),
    ((0.5,),),
    ((1, 2, 3), (4, 5, 6), (7, 8, 9), (1, 1, 1), (0, 0, 2)),
]


@pytest.mark.parametrize("weights", KERNELS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", "float64"])
def test_as_correlation(run, weights, dtype) -> None:
    margin = max(len(weights), len(weights[0])) // 2
    image = np.random.default_rng(6).integers(0, 99, (9 + 2 * margin, 8 + 2 * margin)).astype(dtype)
    expected = correlate(image.astype("float64"), np.array(weights, "float64"))
    expected = expected[margin : margin + 9, margin : margin + 8]
    found = run("convolve", image, margin=margin, weights=weights)[0]
    assert found.dtype == ("float64" if dtype == "float64" else "float32")
    assert np.allclose(found, expected, rtol=1e-6)


def test_normalized(run) -> None:
    image = np.full((5, 5), 7, "uint8")
    assert (run("convolve", image, margin=1, weights=((1, 2, 1),) * 3, normalize=True) == 7).all()


@pytest.mark.parametrize("weights", KERNELS)
def test_valid_where_all_pixels_under_the_kernel_are(run, weights) -> None:
    margin = max(len(weights), len(weights[0])) // 2
    gaps = np.random.default_rng(7).random((14 + 2 * margin, 13 + 2 * margin)) < 0.1
    image = np.ma.array(np.ones(gaps.shape, "uint8"), mask=gaps)
    expected = correlate(gaps.astype(int), np.ones(np.shape(weights), int))[margin:, margin:][:14, :13] > 0
    assert np.array_equal(run("convolve", image, margin=margin, weights=weights)[0].mask, expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weights": ()}, "at least 1"),
        ({"weights": ((),)}, "no middle"),
        ({"weights": ((1, 2),)}, "1 × 2 has no middle"),
        ({"weights": ((1, 2, 3), (1, 2))}, "differ in length"),
        ({"weights": ((1.0,) * 103,)}, "too large"),
        ({"weights": ((1, -1, 0),), "normalize": True}, "sum up to 0"),
        ({"weights": ((1, float("nan"), 1),)}, "finite"),
        ({"weights": (1, 2, 3)}, "a list"),
    ],
)
def test_bad_kernels(params, message) -> None:
    with pytest.raises(ParameterError, match=message):
        registry()["convolve"](**params)


def test_numpy_kernels() -> None:
    convolve = registry()["convolve"]
    assert convolve(weights=np.eye(3)) == convolve(weights=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
