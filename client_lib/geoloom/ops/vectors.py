"""What the ops that turn features into pixels share: where the features come from."""

from __future__ import annotations

from pathlib import PurePosixPath

from geoloom.errors import ParameterError
from geoloom.op import BlobKey, Op, param

UNTOLD = ("href", "blob", "table", "style")
"""Parameters too long to be read as steps of a chain."""

LONGEST_WHERE = 10_000
"""Characters of a condition."""


class Vectors(Op):
    """Features of a file, or of a GeoJSON text, as the engine's painters read them.

    `table` names canonical JSON ``{"on": column, "columns": {name: {key: value}}}``: the columns that a table
    of the user's adds to each feature. Keys are the feature's attribute `on` as text; whole numbers have no
    point.
    """

    href: str | None = param(
        None, doc="Absolute path or URL of the file; or `blob`.", example="/data/parcels.gpkg"
    )
    blob: BlobKey | None = param(None, doc="Key of a GeoJSON FeatureCollection, in degrees; or `href`.")
    layer: str | None = param(None, doc="Which layer of the file; the first without it.")
    where: str | None = param(None, doc="Which features: a condition on their attributes, as in SQL.")
    table: BlobKey | None = param(None, doc="Key of a table of the user's that adds columns.")
    painted = True
    method = False

    def __repr__(self) -> str:
        shown = [PurePosixPath(self.href or "features").name]
        for declared in self.parameters:
            value = getattr(self, declared.name)
            if declared.name not in UNTOLD and value != declared.default:
                shown.append(f"{declared.name}={value!r}")
        return f"{self.name}({', '.join(shown)})"

    def check(self) -> None:
        """Either a file or a text, and a condition of sensible length."""
        if (self.href is None) == (self.blob is None):
            raise ParameterError(f"{self.name}() takes either href or blob.")
        if self.where is not None and not 0 < len(self.where.strip()) <= len(self.where) <= LONGEST_WHERE:
            raise ParameterError(
                f"{self.name}(where=…) is empty or longer than {LONGEST_WHERE:,} characters.",
                hint='Write a condition such as "population > 1000".',
            )
