from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import geoloom.colour as colour
from geoloom.errors import ParameterError


@pytest.mark.parametrize(
    ("given_colour", "expected"),
    [
        ("red", "#ff0000ff"),
        (" DarkGreen ", "#006400ff"),
        ("rebeccapurple", "#663399ff"),
        ("grey", "#808080ff"),
        ("transparent", "#00000000"),
        ("#ABC", "#aabbccff"),
        ("#abcd", "#aabbccdd"),
        ("#a1B2c3", "#a1b2c3ff"),
        ("#a1b2c304", "#a1b2c304"),
        ((1, 2, 3), "#010203ff"),
        ([255, 0, 0, 128], "#ff000080"),
        (np.array([1, 2, 3], np.uint8), "#010203ff"),
    ],
)
def test_colours_are_read(given_colour: colour.Colour, expected: str) -> None:
    assert colour.parse(given_colour) == expected


@pytest.mark.parametrize(
    "wrong",
    ["", "#", "#12", "#12345", "#gggggg", "#١٢٣", (1, 2), (1, 2, 3, 4, 5), (0, 0, 256), (-1, 0, 0),
     (0.5, 0, 0), (True, 0, 0), ("1", 2, 3), 7, None, {"r": 1}, "x" * 10000],
)  # fmt: skip
def test_other_things_are_refused(wrong: object) -> None:
    with pytest.raises(ParameterError) as caught:
        colour.parse(wrong)  # type: ignore[arg-type]
    assert "is no colour" in caught.value.message
    assert caught.value.hint
    assert len(str(caught.value)) < 300


def test_misspelt_names_get_a_suggestion() -> None:
    with pytest.raises(ParameterError, match="'darkgreen'"):
        colour.parse("darkgren")
    with pytest.raises(ParameterError, match="'viridis'"):
        colour.ramp("virdis")
    with pytest.raises(ParameterError, match=r"cividis, .*viridis"):
        colour.ramp("qqqqqq")
    with pytest.raises(ParameterError, match="must be text"):
        colour.ramp(3)  # type: ignore[arg-type]


@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_components_undo_parse(parts: tuple[int, int, int, int]) -> None:
    assert colour.components(colour.parse(parts)) == parts


def test_all_ramps() -> None:
    promised = (
        "viridis magma inferno plasma cividis turbo greys greens blues reds ylgn ylorrd rdylgn rdylbu "
        "rdbu spectral brbg piyg terrain elevation ocean bathymetry ndvi jet"
    )
    assert set(promised.split()) <= set(colour.ramps())
    for name in colour.ramps():
        stops = colour.ramp(name)
        assert len(stops) >= 5
        assert all(colour.parse(stop) == stop for stop in stops)
        assert colour.ramp(f"{name}_r") == stops[::-1]
        assert colour.ramp(name.upper()) == stops
        assert len(set(colour.lut(stops))) > 100


def test_known_colours_of_viridis() -> None:
    table = colour.lut(colour.ramp("viridis"), 256)
    assert (table[0], table[-1]) == ("#440154ff", "#fde725ff")
    middle = colour.components(table[128])
    assert max(abs(a - b) for a, b in zip(middle, (0x21, 0x90, 0x8C, 255), strict=True)) <= 2


def test_tables_have_room_for_transparent() -> None:
    assert len(colour.lut(["red", "blue"])) == colour.LEVELS == 255


@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=2, max_size=12),
    st.integers(2, 300),
)
def test_tables_interpolate_linearly(stops: list[tuple[int, int, int, int]], n: int) -> None:
    table = np.array([colour.components(entry) for entry in colour.lut(stops, n)])
    places = np.arange(n) * (len(stops) - 1) / (n - 1)
    wanted = np.stack(
        [np.interp(places, np.arange(len(stops)), [stop[band] for stop in stops]) for band in range(4)],
        axis=1,
    )
    assert np.abs(table - wanted).max() <= 0.5 + 1e-9


def test_small_tables() -> None:
    assert colour.lut(["red"], 3) == ("#ff0000ff",) * 3
    assert colour.lut(["red", "blue"], 1) == ("#ff0000ff",)


@pytest.mark.parametrize("stops", ["red", [], 5, None])
def test_a_table_needs_a_list_of_colours(stops: object) -> None:
    with pytest.raises(ParameterError, match="needs a list of colours"):
        colour.lut(stops)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1, 65537])
def test_a_table_has_a_sensible_size(n: int) -> None:
    with pytest.raises(ParameterError, match="cannot be made"):
        colour.lut(["red", "blue"], n)


def test_needs_only_the_standard_library() -> None:
    code = (
        "import sys, importlib.util as u; sys.modules['numpy'] = None; "
        f"spec = u.spec_from_file_location('colour', {colour.__file__!r}); "
        "import types; package = types.ModuleType('geoloom'); "
        f"package.__path__ = [{str(Path(colour.__file__).parent)!r}]; sys.modules['geoloom'] = package; "
        "module = u.module_from_spec(spec); spec.loader.exec_module(module); print(module.parse('red'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "#ff0000ff", done.stderr
