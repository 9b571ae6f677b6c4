from __future__ import annotations

from geoloom_engine.readers import Window
from geoloom_engine.warming import DTYPES, Specimen, steps


def test_every_step_warps_pixels() -> None:
    blocks = [step() for step in steps()]
    assert len(blocks) == 2 * len(DTYPES)
    for block in blocks:
        assert block.valid.any()
        assert not block.valid.all()


def test_the_specimen_reads_as_a_source_does() -> None:
    data, valid = Specimen("uint16").read(0, (0,), Window(0, 0, 5, 4))
    assert (data.shape, str(data.dtype), valid.shape, str(valid.dtype)) == (
        (1, 4, 5),
        "uint16",
        (1, 4, 5),
        "bool",
    )
