"""Stack: bands one after the other."""

from __future__ import annotations

import numpy as np

from geoloom.ops.stack import unique
from geoloom.profile import Profile


def test_bands_dtype_and_validity(run) -> None:
    one = np.ma.array([[1, 2]], mask=[[False, True]], dtype="uint8")
    other = np.array([[[-1, -2]], [[3, 4]]], "int16")
    found = run("stack", one, other, 7)
    assert found.dtype == np.int16
    assert found.filled(0)[:, 0].tolist() == [[1, 0], [-1, -2], [3, 4], [7, 7]]
    assert found.mask[:, 0].tolist() == [[False, True], [False, False], [False, False], [False, False]]


def test_profile(profile) -> None:
    a, b = Profile(("x", "y"), "uint8", unit="m"), Profile(("y", "z"), "float32", unit="m")
    found = profile("stack", a, b)
    assert found == Profile(("x", "y", "y_2", "z"), "float32", unit="m")
    assert profile("stack", a, Profile(("q",), "uint8")).unit is None


def test_names_are_unique() -> None:
    assert unique(["a", "a", "a_2", "a"]) == ("a", "a_2", "a_2_2", "a_3")
