"""Quality: the score comes last and is no part of the result."""

from __future__ import annotations

import pytest

from geoloom.errors import BandError, ParameterError
from geoloom.op import Profile
from geoloom.ops.quality import Quality

KEY = "0" * 32


def test_the_score_is_no_band_of_the_result() -> None:
    scored = Profile(("red", "nir", "score"), "float32")
    op = Quality(selection=KEY, dtype="uint16")
    assert op.described(scored) == Profile(("red", "nir"), "uint16")
    assert op.needs((1,), scored) == (1, 2)


def test_a_score_alone_is_not_enough() -> None:
    with pytest.raises(BandError, match="beside the score"):
        Quality(selection=KEY).described(Profile(("score",), "float32"))


def test_the_dtype_is_one_of_images() -> None:
    with pytest.raises(ParameterError, match="not the dtype of an image"):
        Quality(selection=KEY, dtype="complex64")
