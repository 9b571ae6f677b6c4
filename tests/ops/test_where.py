"""Where: data and validity follow the choice."""

from __future__ import annotations

import numpy as np
import pytest

from geoloom.errors import BandError
from geoloom.profile import Look, Profile

YES = np.array([[True, True, False, False]])


def test_as_numpy(run) -> None:
    a, b = np.arange(4, dtype="uint8")[np.newaxis], np.arange(4, dtype="int16")[np.newaxis] - 9
    found = run("where", YES, a, b)
    assert found.dtype == np.int16
    assert np.array_equal(found[0], np.where(YES, a, b))
    assert np.array_equal(run("where", YES, a, 0)[0], np.where(YES, a, 0))
    assert np.array_equal(run("where", a, 1, 0)[0], np.where(a, 1, 0))


def test_valid_where_condition_and_choice_are(run) -> None:
    a = np.ma.array([[1, 1, 1, 1]], mask=[[1, 0, 1, 0]], dtype="uint8")
    b = np.ma.array([[2, 2, 2, 2]], mask=[[0, 1, 0, 1]], dtype="uint8")
    assert run("where", YES, a, b)[0, 0].tolist() == [None, 1, 2, None]
    unsure = np.ma.array(YES, mask=[[0, 1, 1, 0]])
    assert run("where", unsure, 1, 2)[0, 0].tolist() == [1, None, None, 2]


def test_dtypes(profile) -> None:
    assert profile("where", "bool", "uint8", 0).dtype == "uint8"
    assert profile("where", "bool", "uint8", -1).dtype == "int16"
    assert profile("where", "bool", "uint8", 0.5).dtype == "float32"
    assert profile("where", "bool", 1, 2).dtype == "int32"
    assert profile("where", "bool", 0.5, "float64").dtype == "float64"
    assert profile("where", "bool", "bool", 1).dtype == "bool"


def test_bands(run, profile, three) -> None:
    assert profile("where", "bool", three, 0).names == three.names
    assert profile("where", three, 1, 0).names == three.names
    assert run("where", np.stack([YES, ~YES]), 1, 0)[:, 0].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    with pytest.raises(BandError, match="cannot be combined"):
        profile("where", Profile(("a", "b"), "bool"), three, 0)


def test_a_shared_look_stays(profile) -> None:
    look = Look("grey", ((0.0, 1.0),))
    one = Profile(("a",), "uint8", look=look)
    assert profile("where", "bool", one, one).look == look
    assert profile("where", "bool", one, "uint8").look is None
