"""Features as a picture."""

from __future__ import annotations

from pathlib import PurePosixPath

from geoloom.op import Look, Profile, op, param
from geoloom.ops.vectors import Vectors
from geoloom.symbols import Style


@op
class Draw(Vectors):
    """A picture of features: polygons, lines and points with smooth edges, of the same width at all zooms.

    In the notebook this is what a map makes of a vector that was styled.
    """

    style: str = param(Style().to_json(), doc="How they look, as canonical JSON.")

    def check(self) -> None:
        """The style is one."""
        super().check()
        Style.from_json(self.style)

    def profile(self, *inputs: Profile) -> Profile:
        """A colour picture, with what its colours mean."""
        style = Style.from_json(self.style)
        if style.by is not None:
            look = Look("rgba", labels=style.by.labels, name=style.by.column)
        else:
            seen = [one for one in (style.fill, style.line) if one is not None and not one.endswith("00")]
            title = self.layer or PurePosixPath(self.href or "features").stem
            look = Look("rgba", labels=((title, seen[0]),) if seen else ())
        return Profile(("red", "green", "blue", "alpha"), "uint8", range=(0.0, 255.0), look=look)
