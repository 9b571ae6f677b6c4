"""Selections: what is put in comes out, equal rows give equal bytes, and what is not canonical is refused."""

from __future__ import annotations

import pytest
import shapely

from geoloom.errors import CorruptChain
from geoloom.selection import Asset, Item, SelectedBand, Selection

BANDS = (SelectedBand("B04", "uint16", 0.0), SelectedBand("SCL", "uint8", None, resampling="nearest"))


def scene(number: int, date: float | None = 1.5e9) -> Item:
    transform = (399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0)
    coarse = (399960.0, 20.0, 0.0, 4900020.0, 0.0, -20.0)
    folder = f"s3://bucket/34/T/FQ/S2A_34TFQ_{number}_0_L2A"
    return Item(
        f"S2A_34TFQ_{number}_0_L2A",
        None if date is None else date + number,
        shapely.normalize(shapely.box(23, 44, 24 + number / 8, 45)),
        (
            Asset(
                f"{folder}/B04.tif",
                ((0, 0),),
                "0123456789",
                "EPSG:32634",
                transform,
                (10980, 10980),
                ((5490, 5490),),
            ),
            Asset(f"{folder}/SCL.tif", ((1, 0),), "", "EPSG:32634", coarse, (5490, 5490)),
        ),
        10.0,
    )


def test_what_is_put_in_comes_out() -> None:
    items = [scene(3), scene(1, None), scene(2)]
    selection = Selection.of("local/s2", BANDS, items)
    again = Selection.from_bytes(selection.to_bytes())
    assert again == selection
    assert [again.item(row) for row in range(3)] == items
    assert again.bands == BANDS
    assert again.ids == tuple(item.id for item in items)


def test_cut_text_is_refused() -> None:
    with pytest.raises(CorruptChain, match="selection"):
        Selection.from_bytes(Selection.of("s2", BANDS, [scene(1)]).to_bytes()[:-1])
