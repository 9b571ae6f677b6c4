"""A user's table, by a column of the features: what it adds to them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from geoloom.chain import canonical
from geoloom.errors import ParameterError
from geoloom.geojson import plain_value, sendable

__all__ = ["Table", "key_text", "near"]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The columns that a table adds to features.

    Parameters
    ----------
    on
        Column of the features.
    columns
        ``{name: {key: value}}``: key is the text of the features' `on`.
    """

    on: str
    columns: Mapping[str, Mapping[str, Any]]

    @staticmethod
    def of(table: Any, on: str | tuple[str, str], columns: Sequence[str] | str | None = None) -> Table:
        """From what people have tables in.

        Parameters
        ----------
        table
            A pandas DataFrame (`on` may be its index), a list of rows as dicts, ``{column: [values]}``,
            ``{key: {column: value}}``, or ``{key: value}`` with the column's name as `columns`.
        on
            The column that both have; or its name in the features and its name in the table.
        columns
            Which to take; all without it.

        Raises
        ------
        ParameterError
            If there is no such column, a key stands in two rows, or it is no table.
        """
        here, there = (on, on) if isinstance(on, str) else on
        wanted = [columns] if isinstance(columns, str) else None if columns is None else list(columns)
        rows = list(_rows(table, there, wanted))
        if not rows:
            raise ParameterError("The table is empty.")
        names = list(dict.fromkeys(name for _, row in rows for name in row))
        for name in wanted or ():
            if name not in names:
                raise ParameterError(f"The table has no column {name!r}.", hint=near(name, names))
        found: dict[str, dict[str, Any]] = {name: {} for name in wanted or names}
        if not found:
            raise ParameterError(f"The table has no column besides {there!r}.")
        seen: set[str] = set()
        for value, row in rows:
            key = key_text(value)
            if key is None:
                continue
            if key in seen:
                raise ParameterError(
                    f"The table has more than one row for {there} = {key!r}.",
                    hint="Sum or choose first, so that each feature gets one row.",
                )
            seen.add(key)
            for name, column in found.items():
                added = plain_value(row.get(name))
                if added is not None:
                    column[key] = added
        return Table(here, found)

    @staticmethod
    def from_content(content: bytes) -> Table:
        """From what `content` gave."""
        told = json.loads(content)
        return Table(told["on"], told["columns"])

    @property
    def keys(self) -> frozenset[str]:
        """Of the rows that add anything."""
        return frozenset(key for column in self.columns.values() for key in column)

    def with_columns(self, other: Table) -> Table:
        """With the columns of another table of the same keys; raises ParameterError if they are not."""
        if other.on != self.on:
            raise ParameterError(
                f"A table is joined on {self.on!r} already, so none can be joined on {other.on!r}.",
                hint="Merge the two first, then join the result.",
            )
        return Table(self.on, {**self.columns, **other.columns})

    def types(self) -> dict[str, str]:
        """The type of each column: ``bool``, ``int64``, ``float64`` or ``text``."""
        return {name: _type(list(column.values())) for name, column in self.columns.items()}

    def unmatched(self, known: frozenset[str]) -> str:
        """How many rows have none of the features' keys, in words; "" if all have one.

        Raises
        ------
        ParameterError
            If none has.
        """
        without = sorted(self.keys - known)
        if not without:
            return ""
        if len(without) == len(self.keys):
            raise ParameterError(
                f"No row of the table has a feature: its keys are {_some(without)}, "
                f"the features' {self.on} is {_some(sorted(known))}."
            )
        return f"{len(without):,} of {len(self.keys):,} rows of the table have no feature: {_some(without)}."

    def content(self) -> bytes:
        """As the canonical JSON that a chain names; raises ParameterError if that is too long."""
        columns = {name: dict(one) for name, one in self.columns.items()}
        return sendable(canonical({"on": self.on, "columns": columns}), "rows of the table")

    def add_to(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """A feature's attributes with those of its row."""
        key = key_text(properties.get(self.on))
        return {**properties, **{name: one.get(key or "") for name, one in self.columns.items()}}


def key_text(value: Any) -> str | None:
    """A value by which rows are found, as text: numbers that are whole without a point; None for none."""
    value = plain_value(value)
    if value is None:
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        return str(int(value))
    return str(value)


def near(name: str, names: Sequence[str]) -> str:
    """Which names may have been meant."""
    close = get_close_matches(name, names, n=3, cutoff=0.6) or [
        one for one in names if one.casefold() == name.casefold()
    ]
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(list(names)[:20]) + (" …" if len(names) > 20 else "")
    return f"There are: {shown}." if shown else "There are none."


def _type(values: Sequence[Any]) -> str:
    if all(isinstance(one, bool) for one in values):
        return "bool"
    if all(isinstance(one, int) for one in values):
        return "int64"
    return "float64" if all(isinstance(one, int | float) for one in values) else "text"


def _some(keys: Sequence[str]) -> str:
    """The first keys, to be read."""
    return (", ".join(map(repr, keys[:5])) or "nothing") + (" …" if len(keys) > 5 else "")


def _rows(table: Any, on: str, columns: Sequence[str] | None) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """(key, row) of each row."""
    if hasattr(table, "to_dict") and hasattr(table, "columns"):
        if on not in table.columns and table.index.name in (on, None):
            table = table.rename_axis(on).reset_index()
        _need(on, [str(name) for name in table.columns])
        table = table.to_dict("records")
    if isinstance(table, Mapping):
        if table and all(isinstance(one, list | tuple) or hasattr(one, "tolist") for one in table.values()):
            _need(on, list(table))
            lists = {name: list(one) for name, one in table.items()}
            if len({len(one) for one in lists.values()}) > 1:
                raise ParameterError("The columns of the table are not of one length.")
            table = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        elif all(isinstance(one, Mapping) for one in table.values()):
            yield from table.items()
            return
        elif columns is not None and len(columns) == 1:
            yield from ((key, {columns[0]: value}) for key, value in table.items())
            return
        else:
            raise ParameterError(
                "A table of one value a key needs the column's name.", hint='Add columns="name" to join(…).'
            )
    if not isinstance(table, list | tuple) or not all(isinstance(row, Mapping) for row in table):
        raise ParameterError(
            f"This {type(table).__name__} is no table.",
            hint="Give a DataFrame, a list of dicts, or a dict of columns.",
        )
    for row in table:
        _need(on, list(row))
        yield row[on], {str(name): value for name, value in row.items() if name != on}


def _need(on: str, names: Sequence[str]) -> None:
    if on not in names:
        raise ParameterError(
            f"The table has no column {on!r} to join on.",
            hint=f'{near(on, names)} Different names are joined by on=("the features\'", "the table\'s").',
        )
