"""Addresses of parts of a file: one variable of a netCDF or Zarr file, at one time and depth.

::

    /data/sst.nc#variable=sst&time=2020-01-16T12:00:00Z&depth=0.5

What stands behind ``#`` are names and values, percent-encoded, sorted by name with ``variable`` among
them. A file whose own name holds a ``#`` is still found: only what has the form of an address is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from geoloom.errors import RequestError

VARIABLE = "variable"
_SAFE = ":/+,"


@dataclass(frozen=True, slots=True)
class Address:
    """A file, or one variable of it at a position along its dimensions.

    Parameters
    ----------
    href
        Path or URL of the file.
    variable
        Name of the variable; None for the file as a whole.
    at
        Coordinates, as texts by the name of the dimension; sorted, so equal addresses are equal.

    Raises
    ------
    RequestError
        If there are coordinates without a variable, or a dimension is called "variable".
    """

    href: str
    variable: str | None = None
    at: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.variable is None and self.at:
            raise RequestError(f"{self.href}: coordinates {dict(self.at)} of no variable.")
        if self.variable == "" or VARIABLE in self.at or "" in self.at:
            raise RequestError(
                f"{self.href}: this address cannot be written.",
                hint="A variable and its dimensions need names, and no dimension may be called 'variable'.",
            )
        object.__setattr__(self, "at", dict(sorted(self.at.items())))

    @staticmethod
    def parse(text: str) -> Address:
        """The address that a href holds; a plain file if it holds none."""
        href, mark, behind = text.rpartition("#")
        if not mark or not href:
            return Address(text)
        found: dict[str, str] = {}
        for pair in behind.split("&"):
            name, equals, value = pair.partition("=")
            name = unquote(name)
            if not equals or not name or name in found:
                return Address(text)
            found[name] = unquote(value)
        variable = found.pop(VARIABLE, "")
        return Address(href, variable, found) if variable else Address(text)

    @property
    def text(self) -> str:
        """The address as it is written: the same for equal addresses, and parsed to an equal one."""
        return self.href + self.part

    @property
    def part(self) -> str:
        """What stands behind the file, from ``#`` on; empty for the file as a whole."""
        if self.variable is None:
            return ""
        pairs = sorted([(VARIABLE, self.variable), *self.at.items()])
        return "#" + "&".join(
            f"{quote(name, safe=_SAFE)}={quote(value, safe=_SAFE)}" for name, value in pairs
        )

    def with_at(self, **at: str) -> Address:
        """The same variable with some coordinates set."""
        return Address(self.href, self.variable, {**self.at, **at})
