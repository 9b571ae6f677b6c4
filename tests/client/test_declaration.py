from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from geoloom.declaration import Input, Output, band, image, images, reference, signature, sub_chain
from geoloom.param import Parameter, param


def named(name: str, one: Any) -> Any:
    return replace(one, name=name)


def parameter(name: str, hint: Any, **how: Any) -> Parameter:
    return replace(param(doc=f"The {name}.", **how), name=name, hint=hint)


VALUES = named("values", image(doc="The image."))
OTHER = named("other", image(doc="Another.", unit="m"))
REST = named("others", images(doc="More."))


def test_kinds_of_inputs() -> None:
    made = [band(doc="B.", unit="m"), image(doc="I."), images(doc="M."), sub_chain(doc="S.")]
    assert [one.kind for one in made] == ["band", "image", "images", "sub_chain"]
    assert made[0] == Input("", "band", "B.", "m")
    assert Output() == Output("same", "float32", None, None)


@pytest.mark.parametrize(
    ("inputs", "parameters", "shown"),
    [
        ((), (), "(self)"),
        ((VALUES,), (), "(self)"),
        ((VALUES, OTHER), (parameter("factor", float),), "(self, other, factor)"),
        ((VALUES, REST), (parameter("factor", float, default=1.0),), "(self, *others, factor=1.0)"),
        (
            (VALUES,),
            (parameter("names", tuple[str, ...], variadic=True), parameter("limit", int, default=3)),
            "(self, *names, limit=3)",
        ),
        ((VALUES, named("other", image(doc="Another.", default=0))), (), "(self, other=0)"),
    ],
)
def test_the_signature_of_a_method(inputs: Any, parameters: Any, shown: str) -> None:
    assert str(signature(inputs, parameters)) == shown


def test_the_docstring_names_what_is_passed() -> None:
    text = reference(
        "Adds.\n\n    More.\n    ", (OTHER,), (parameter("factor", float, default=1.0, unit="1"),)
    )
    assert text == (
        "Adds.\n\nMore.\n\nParameters\n----------\nother\n    Another. Unit: m.\n"
        "factor : float, default 1.0\n    The factor. Unit: 1."
    )
    assert reference("Alone.", (), ()) == "Alone."
