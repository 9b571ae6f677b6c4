"""The smaller and larger of two images."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize(("name", "ufunc"), [("minimum", np.minimum), ("maximum", np.maximum)])
def test_as_numpy(run, name, ufunc) -> None:
    a = np.array([[0, 5, 255]], "uint8")
    b = np.array([[-1, 5, 300]], "int16")
    assert np.array_equal(run(name, a, b)[0], ufunc(a, b))
    assert np.array_equal(run(name, a, 100)[0], ufunc(a, 100))


def test_dtypes(profile) -> None:
    assert profile("minimum", "uint8", 100).dtype == "uint8"
    assert profile("minimum", "uint8", 300).dtype == "uint16"
    assert profile("maximum", "uint8", -1).dtype == "int16"
    assert profile("maximum", "uint8", 0.5).dtype == "float32"
    assert profile("maximum", "bool", 1).dtype == "bool"
    assert profile("maximum", "float64", "float32").dtype == "float64"


def test_valid_where_both_are(run) -> None:
    image = np.ma.array([[1, 2]], mask=[[True, False]], dtype="uint8")
    assert run("maximum", image, 5).mask.tolist() == [[[True, False]]]
