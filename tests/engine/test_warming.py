from __future__ import annotations

from itertools import islice

from geoloom.op import registry
from geoloom_engine.readers import Window
from geoloom_engine.warming import DTYPES, Specimen, steps, try_out


def test_the_first_steps_warp_pixels() -> None:
    blocks = [step() for step in islice(steps(), 2 * len(DTYPES))]
    for block in blocks:
        assert block.valid.any()
        assert not block.valid.all()


def test_a_picture_is_encoded_next() -> None:
    assert next(islice(steps(), 2 * len(DTYPES), None))().startswith(b"\x89PNG")


def test_ops_that_take_one_band_are_tried_out() -> None:
    tried = {name for name, op in registry().items() if hasattr(op, "kernel") and try_out(op) is not None}
    assert {"focal_mean", "focal_min", "focal_median", "slope", "hillshade", "add", "sqrt"} <= tried
    assert try_out(registry()["blend"]) is None
    assert try_out(registry()["bit_and"]) is None
    assert try_out(registry()["bit_and"], "uint16") is not None
    assert sum(1 for _ in steps()) > 2 * len(DTYPES) + len(tried)


def test_the_specimen_reads_as_a_source_does() -> None:
    data, valid = Specimen("uint16").read(0, (0,), Window(0, 0, 5, 4))
    assert (data.shape, str(data.dtype), valid.shape, str(valid.dtype)) == (
        (1, 4, 5),
        "uint16",
        (1, 4, 5),
        "bool",
    )
