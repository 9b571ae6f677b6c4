"""Items of a collection as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FIRST = ("datetime", "start_datetime", "end_datetime")


def table_of(items: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row an item: id, date (UTC), its properties, footprint.

    Parameters
    ----------
    items
        As the engine tells them: id, date, properties and geometry.
    """
    import pandas as pd
    import shapely

    properties = [dict(item.get("properties") or {}) for item in items]
    names = dict.fromkeys(name for one in properties for name in one if name not in _FIRST)
    columns: dict[str, Any] = {
        "id": [item["id"] for item in items],
        "date": pd.to_datetime([item.get("date") for item in items], utc=True, format="ISO8601"),
    }
    columns |= {name: [one.get(name) for one in properties] for name in names if name not in columns}
    columns["geometry"] = [_outline(item.get("geometry"), shapely) for item in items]
    return pd.DataFrame(columns)


def _outline(geometry: Any, shapely: Any) -> Any:
    return None if not geometry else shapely.geometry.shape(geometry)
