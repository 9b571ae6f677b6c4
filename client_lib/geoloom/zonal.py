"""Statistics of an image over features: a table with a row for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoloom.errors import ParameterError
from geoloom.features import vector
from geoloom.image import Image, connected

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["zone_table"]

NUMBERS = ("count", "mean", "min", "max", "std", "sum")


def zone_table(image: Image, zones: Any, resolution: float | None = None, bbox: Any = None) -> pd.DataFrame:
    """Count, mean, min, max, std and sum of an image's pixels in each feature.

    A pixel counts by the share of it that the feature covers, so `count` has a fraction.

    Parameters
    ----------
    zones
        A `geoloom.features.Vector`, or whatever `geoloom.vector` takes.
    resolution
        Of the pixels, in ground metres; without it the image's own.
    bbox
        Cannot be given.

    Returns
    -------
    A row for each feature, in their order: its attributes, then the numbers. Where there are several bands,
    or attributes of these names, the numbers are called ``B04_mean`` and so on. Without a valid pixel, count
    is 0 and the rest is missing.

    Raises
    ------
    ParameterError
        If the image has a look: its pixels are colours; or if there are no zones.
    DemandError
        If the zones hold too many pixels.
    """
    import pandas as pd

    if image.profile.look is not None:
        raise ParameterError(
            "Statistics of colours mean nothing.",
            hint="Take the image as it was before .scale() or .colormap().",
        )
    if zones is None or bbox is not None:
        raise ParameterError(
            "statistics(…) takes either a bbox, or zones with a resolution.",
            hint="Features are given by name, as image.statistics(zones=parcels).",
        )
    found = vector(zones)
    client = connected()
    client.register(image.chain)
    answer = found.source.ask("/zonal", key=image.key, resolution=resolution)
    names = image.band_names
    short = len(names) == 1 and not set(NUMBERS) & set(found.columns)
    titles = {(name, what): what if short else f"{name}_{what}" for name in names for what in NUMBERS}
    rows, index = [], []
    for zone in answer["zones"]:
        numbers = {title: zone["bands"][name][what] for (name, what), title in titles.items()}
        rows.append({**found.completed(zone["properties"]), **numbers})
        index.append(zone["id"])
    columns = list(dict.fromkeys([*found.columns, *titles.values()]))
    return pd.DataFrame(rows, index=pd.Index(index, name="feature"), columns=columns)
