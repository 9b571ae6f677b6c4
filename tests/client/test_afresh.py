from __future__ import annotations

import contextlib
import random
import sys
import warnings

import numpy as np

from geoloom.afresh import PRINT_LIMIT, Prints, afresh


def test_random_numbers_are_the_same_each_time_and_what_was_before_goes_on() -> None:
    random.seed(5)
    np.random.seed(5)
    wanted = [random.random(), np.random.random(), random.random(), np.random.random()]
    random.seed(5)
    np.random.seed(5)
    found, inside = [], []
    for _ in range(2):
        with afresh(None):
            inside.append((random.random(), np.random.random()))
        found += [random.random(), np.random.random()]
    assert found == wanted
    assert inside[0] == inside[1]


def test_prints_are_caught_up_to_a_limit_and_the_streams_come_back() -> None:
    out, err = sys.stdout, sys.stderr
    caught = Prints()
    with contextlib.suppress(KeyError), afresh(caught):
        sys.stdout.write("one\n")
        sys.stderr.write("two\n")
        raise KeyError
    assert (sys.stdout, sys.stderr) == (out, err)
    assert caught.text() == "one\ntwo"
    long = Prints()
    with afresh(long, alone=True):
        for _ in range(3):
            sys.stdout.write("x" * PRINT_LIMIT)
    assert long.text() == "x" * PRINT_LIMIT + "…"


def test_division_by_zero_is_silent_inside() -> None:
    with warnings.catch_warnings(), afresh(None):
        warnings.simplefilter("error")
        assert np.isinf(np.ones(1) / np.zeros(1)).all()
