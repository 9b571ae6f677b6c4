"""Where an evaluation gets pixels from that are not read before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from geoloom_engine.items import ItemReader
from geoloom_engine.painting import Given


@dataclass(frozen=True, slots=True)
class Supply:
    """Painters' means, and the reader of collections' items; of one evaluation.

    Parameters
    ----------
    given
        What painters may use.
    reader
        Reads items, and knows which could not be read.
    """

    given: Given
    reader: ItemReader
