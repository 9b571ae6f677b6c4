from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import geoloom as gl
from geoloom.errors import GeoloomError
from geoloom.image import Image, build
from geoloom.op import Op, registry
from geoloom.ops.open import Open
from geoloom.profile import Look, Profile
from geoloom.python_text import LINE, python_text

NO_CALL = {
    *("burn", "composite", "constant", "coverage", "draw", "execute", "heat", "item", "open", "quality")
}
"""Ops that no method or function of an image gives."""

KINDS = {
    "band": [Profile(("b1",), "float32"), Profile(("b1",), "uint8"), Profile(("b1",), "bool")],
    "image": [
        Profile(("b1", "b2", "b3", "b4"), "uint16"),
        Profile(("b1",), "bool"),
        Profile(("b1",), "uint8", look=Look("grey", ((0.0, 255.0),))),
    ],
}


def file(name: str, profile: Profile) -> Image:
    """An image of a file that nobody opens."""
    return Image(Open(href=f"/data/{name}.tif").chain(), profile, {})


def given(*images: Image) -> dict[str, tuple[str, str]]:
    """Images that are there, as ``a``, ``b``…"""
    return {image.key: (name, name) for image, name in zip(images, "abcdef", strict=False)}


def run(text: str, *images: Image) -> Any:
    """What the code calls ``image``."""
    names: dict[str, Any] = {"gl": gl, **dict(zip("abcdef", images, strict=False))}
    exec(text, names)
    return names["image"]


def inputs_for(op: Op) -> Iterator[tuple[Image, ...]]:
    kinds = ["image" if one.kind == "images" else one.kind for one in op.inputs]
    for profiles in itertools.product(*(KINDS[kind] for kind in kinds)):
        yield tuple(file(f"{n}", profile) for n, profile in enumerate(profiles))


@pytest.mark.parametrize("name", sorted(set(registry()) - NO_CALL))
def test_every_op_is_written_as_it_is_called(name: str) -> None:
    op = registry()[name].example()
    for images in inputs_for(op):
        try:
            image = build(op, *images)
        except GeoloomError:
            continue
        text = python_text(image, given(*images))
        assert "from_json" not in text
        assert run(text, *images).key == image.key
        return
    pytest.fail("no inputs were found that it accepts")


A = file("a", Profile(("red", "nir"), "uint16"))
B = file("b", Profile(("b1",), "float32", unit="m"))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: B, "image = a"),
        (lambda: 1 - B, "image = 1 - a"),
        (lambda: -(B + 1) * 2.5, "image = (-(a + 1)) * 2.5"),
        (lambda: B - -1, "image = a - (-1)"),
        (lambda: (B > 2) & ~(B < 0.5), "image = (a > 2) & (~(a < 0.5))"),
        (lambda: abs(B).clip(0, 1.5), "image = abs(a).clip(low=0, high=1.5)"),
        (lambda: (B + 1).slope(z_factor=2), "image = (a + 1).slope(z_factor=2)"),
        (lambda: B.scale(0, 255, gamma=2), "image = a.scale(0, 255, gamma=2)"),
        (lambda: gl.where(B > 1, B, 0), "condition = a > 1\nimage = gl.where(condition, a, 0)"),
        (
            lambda: B.hillshade().blend(B.scale(0, 9).colormap("greys"), opacity=0.5),
            'upper = a.scale(0, 9).colormap("greys")\nimage = a.hillshade().blend(upper, opacity=0.5)',
        ),
        (
            lambda: B.slope() + B.slope().clip(0, 9),
            "slope = a.slope()\nimage = slope + slope.clip(low=0, high=9)",
        ),
        (
            lambda: gl.stack(B, B.slope(), B.aspect()),
            "slope = a.slope()\naspect = a.aspect()\nimage = a.stack(slope, aspect)",
        ),
    ],
)
def test_it_reads_as_a_person_would_write_it(made: Callable[[], Image], text: str) -> None:
    assert python_text(made(), given(B)) == text
    assert run(text, B).key == made().key


def test_bands_are_taken_by_name() -> None:
    text = python_text(A[["nir", "red"]].rgb("nir", "red", "nir") + A["red"], given(A))
    assert text == 'image = a[["nir", "red"]].rgb("nir", "red", "nir") + a["red"]'


def test_a_known_image_has_its_name_and_its_code() -> None:
    known = {B.key: ("dem", 'gl.open("dem.tif")')}
    assert python_text(B.slope(), known).splitlines() == ['dem = gl.open("dem.tif")', "image = dem.slope()"]


def test_an_unknown_file_is_opened_where_it_is_needed() -> None:
    assert python_text(B.slope()) == 'image = gl.open("/data/b.tif").slope()'


def test_what_is_long_has_a_call_a_line() -> None:
    made = B.scale(0, 255).colors(["#112233", "#445566", "#778899", "#aabbcc", "#ddeeff"]).opacity(0.25)
    text = python_text(made, given(B))
    assert text.splitlines()[:3] == ["image = (", "    a", "    .scale(0, 255)"]
    assert run(text, B).key == made.key
    assert len(python_text(B.slope(), given(B))) < LINE


def test_no_variable_hides_another() -> None:
    image = gl.stack(B, B.slope(z_factor=2), B.slope(z_factor=3))
    known = {B.key: ("slope", "slope")}
    assert python_text(image, known, name="slope_3").splitlines() == [
        "slope_2 = slope.slope(z_factor=2)",
        "slope_4 = slope.slope(z_factor=3)",
        "slope_3 = slope.stack(slope_2, slope_4)",
    ]


@pytest.mark.parametrize(
    "name", ['a"); import os; ("', "back\\slash\\", "Höhe \U0001f3d4", "line\nbreak\u2028"]
)
def test_a_files_name_stays_in_its_quotes(name: str) -> None:
    names: dict[str, Any] = {"gl": type("Gl", (), {"open": staticmethod(lambda href: href)})}
    exec(python_text(file(name, Profile(("b1",), "uint8"))), names)
    assert names["image"] == f"/data/{name}.tif"


def test_what_no_call_gives_is_written_as_json() -> None:
    pinned = Image(Open(href="/data/a.tif", fingerprint="1-2").chain(), A.profile, {})
    text = python_text(pinned[["red"]])
    assert text.startswith('image = gl.from_json("{')
