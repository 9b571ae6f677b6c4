from __future__ import annotations

from geoloom.item_table import table_of


def test_items_as_a_table() -> None:
    table = table_of(
        [
            {
                "id": "a",
                "date": "2016-07-13T09:30:00.5Z",
                "properties": {"cloud": 3, "datetime": "x", "id": "y"},
            },
            {
                "id": "b",
                "date": None,
                "geometry": {"type": "Point", "coordinates": [8, 45]},
                "properties": None,
            },
        ]
    )
    assert list(table.columns) == ["id", "date", "cloud", "geometry"]
    assert list(table["id"]) == ["a", "b"]
    assert table["date"].isna().tolist() == [False, True]
    assert table["geometry"][1].x == 8
    assert table["cloud"][0] == 3
    assert table["geometry"][0] is None


def test_no_items() -> None:
    assert list(table_of([]).columns) == ["id", "date", "geometry"]
