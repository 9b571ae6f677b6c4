"""The filters of a query one by one: in words, and the query without each of them."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from geoloom.dates import edges, words
from geoloom.errors import ParameterError
from geoloom.query import OPERATORS, Query

__all__ = ["Filter", "condition", "filters_of", "order_of"]

Filter = tuple[str, Query]
"""A filter in words, and the query without it."""

_SIGNS = {"==": "is", "!=": "is not", "in": "is one of"}
_MEANT = {"=": "==", "is": "==", "eq": "==", "<>": "!=", "≤": "<=", "≥": ">=", "lt": "<", "gt": ">"}


def condition(name: Any, operator: Any, value: Any) -> tuple[str, str, Any]:
    """A condition on a property as a `Query` holds it, from numpy's, pandas' and Python's own values.

    Raises
    ------
    ParameterError
        It is none; says how it is written.
    """
    written = 'It is written filter("eo:cloud_cover", "<", 20).'
    if not isinstance(name, str) or not name:
        raise ParameterError(f"A property is named by text, not by {name!r}.", hint=written)
    if operator not in OPERATORS:
        meant = _MEANT.get(operator) if isinstance(operator, str) else None
        known = f"The operators are {' '.join(OPERATORS)}."
        raise ParameterError(
            f"filter knows no operator {operator!r}.", hint=f"Use {meant!r}. {known}" if meant else known
        )
    if operator == "in":
        if isinstance(value, str) or not (isinstance(value, Sequence | Set) or hasattr(value, "tolist")):
            raise ParameterError(f'"in" needs a list of values, not {value!r}.')
        listed = sorted(value, key=str) if isinstance(value, Set) else list(value)
        return name, operator, tuple(_value(name, operator, one) for one in listed)
    value = _value(name, operator, value)
    if operator[0] in "<>" and isinstance(value, str) and _is_number(value):
        raise ParameterError(
            f"{name} cannot be compared with the text {value!r}.", hint=f"Give the number: {value.strip()}."
        )
    return name, operator, value


def filters_of(query: Query, places: Sequence[str]) -> list[Filter]:
    """What narrows a query, in words.

    Parameters
    ----------
    places
        Each area's, in words.
    """
    found: list[Filter] = []
    for n, place in enumerate(places):
        found.append((place, replace(query, areas=_but(query.areas, n))))
    for n, span in enumerate(query.dates):
        found.append((words(*span), replace(query, dates=_but(query.dates, n))))
    if query.months:
        names = [calendar.month_name[month] for month in query.months]
        found.append((f"in {_listed(names)} of any year", replace(query, months=())))
    for n, (name, operator, value) in enumerate(query.where):
        shown = _listed([_shown(one) for one in value], "or") if operator == "in" else _shown(value)
        told = f"{name} {_SIGNS.get(operator, operator)} {shown}"
        found.append((told, replace(query, where=_but(query.where, n))))
    if query.ids:
        found.append((f"only {_listed(query.ids)}", replace(query, ids=())))
    return found


def order_of(query: Query) -> str:
    """The order of a query's items in words, and how many of them are taken."""
    keys = [f"nearest to {query.near}"] if query.near else []
    for name, direction in query.sort:
        if name == "datetime":
            keys.append("newest" if direction == "desc" else "oldest")
        else:
            keys.append(f"{'largest' if direction == 'desc' else 'smallest'} {name}")
    order = ", then ".join(keys or ["newest"]) + " first"
    return order if query.limit is None else f"{order}; no more than {query.limit:,}"


def _but(several: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    return several[:n] + several[n + 1 :]


def _value(name: str, operator: str, value: Any) -> Any:
    """A value as JSON has it; of a day its beginning, or its end where all of it comes before."""
    if isinstance(value, datetime | date) or type(value).__name__ == "datetime64":
        return edges(value)[operator in (">", "<=")]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or (isinstance(value, Mapping | Sequence) and not isinstance(value, str)):
        raise ParameterError(
            f"{name} cannot be compared with {value!r}.",
            hint='Several values are given as filter(name, "in", [1, 2]), a range by two filters.',
        )
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # "2016" may be meant as the beginning of a date.
    return not (len(text) == 4 and text.isdigit())


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(names: Sequence[str], last: str = "and") -> str:
    """a, b and c; of many the first."""
    if len(names) > 8:
        return f"{', '.join(names[:6])} {last} {len(names) - 6:,} more"
    return f" {last} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
