"""Dates as people write them, and the half-open UTC ranges that a `Query` holds."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from geoloom.errors import ParameterError
from geoloom.query import EARLIEST, LATEST

__all__ = ["edges", "instant", "months", "period", "words"]

FORMS = 'Write it "2016-07-13", "2016-07", "2016" or "2016-07-13T09:30Z".'

_DATE = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?))?)?", re.ASCII)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_NAMES = [name.lower() for name in calendar.month_name]


def period(start: Any = None, end: Any = None, before: Any = None, after: Any = None) -> tuple[str, str]:
    """The half-open UTC range of a date, or from one date to another.

    Parameters
    ----------
    start, end
        Text (``2016``, ``2016-07``, ``2016-07-13``, ``2016-07-13T09:30+02:00``, ``2016-06-01/2016-09-30``),
        datetime, date, numpy or pandas dates, a year as a number. `start` alone is that year, month or day.
        A year, month or day as `end` is part of the range, a moment is not. ``".."`` is open. Moments
        without a zone are UTC; one at midnight is its day, as pandas writes days.
    before, after
        Only what lies before the beginning, or after the end, of a date.

    Raises
    ------
    ParameterError
        It is no date, or the range is empty.
    """
    if isinstance(start, str) and "/" in start and end is None:
        start, _, end = (part.strip() or ".." for part in start.partition("/"))
    first, last = _FIRST, _LAST
    if start is not None and end is None:
        first, last = _span(start)
    else:
        first = first if _open(start) else _span(start, whole=False)[0]
        last = last if _open(end) else _span(end, whole=False)[1]
    if before is not None:
        last = min(last, _span(before)[0])
    if after is not None:
        first = max(first, _span(after)[1])
    if first >= last:
        given = [_shown(one) for one in (start, end, after, before) if one is not None]
        swapped = end is not None and before is None and after is None
        raise ParameterError(
            f"No time lies in this range of dates: {' to '.join(given)}.",
            hint=f"Was filter_date({_shown(end)}, {_shown(start)}) meant?" if swapped else None,
        )
    return _text(first), _text(last)


def instant(when: Any) -> str:
    """A moment as a `Query` writes it; of a day, month or year its middle."""
    first, last = _span(when, whole=False)
    return _text(first if first == last else first + (last - first) / 2)


def edges(when: Any) -> tuple[str, str]:
    """First moment of a day, month or year, and the first one after it; a moment twice."""
    first, last = _span(when, whole=False)
    return _text(first), _text(last)


def months(given: Any) -> tuple[int, ...]:
    """Months of the year, from numbers or English names, one or several.

    Raises
    ------
    ParameterError
        Something is no month.
    """
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not several:
        raise ParameterError("No month is given.", hint="Give numbers from 1 to 12, such as month=[6, 7, 8].")
    return tuple(sorted({_month(one) for one in several}))


def words(start: str, end: str) -> str:
    """A range of a `Query` in words, days as people count them: the last is part of it."""
    if start == EARLIEST and end == LATEST:
        return "at any time"
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    whole = (first.time(), last.time()) == (_FIRST.time(), _FIRST.time())
    if start == EARLIEST:
        return f"before {last.date() if last.time() == _FIRST.time() else end}"
    if end == LATEST:
        return f"from {first.date() if first.time() == _FIRST.time() else start} on"
    if not whole:
        return f"from {start} until before {end}"
    final = last - timedelta(days=1)
    if first.date() == final.date():
        return f"on {first.date()}"
    if (first.day, last.day) == (1, 1):
        if (first.month, last.month) == (1, 1):
            return f"in {first.year}" if first.year == final.year else f"from {first.year} to {final.year}"
        if (first.year, first.month) == (final.year, final.month):
            return f"in {first:%Y-%m}"
    return f"from {first.date()} to {final.date()}"


def _open(given: Any) -> bool:
    return given is None or (isinstance(given, str) and given.strip() in ("", ".."))


def _span(given: Any, whole: bool = True) -> tuple[datetime, datetime]:
    """First and last moment of a date, the last excluded.

    Parameters
    ----------
    whole
        Whether a moment stands for its day; else it begins and ends at once.
    """
    kind = type(given).__name__
    if kind == "Period":  # pandas: its text is the year, month or day
        given = str(given)
    elif kind == "datetime64":
        given = str(given)
        if given == "NaT":
            raise ParameterError("NaT is no date.", hint=FORMS)
        given = given if "T" not in given else _of_text(given[:26], given)
    elif hasattr(given, "__index__") and not isinstance(given, bool):
        given = f"{given.__index__():04d}"
    if isinstance(given, str):
        text = given.strip()
        if (match := _DATE.fullmatch(text)) is not None:
            year, month, number = (None if part is None else int(part) for part in match.groups())
            return _calendar(text, year or 0, month, number)
        given, written = _of_text(text, given), True
    else:
        written = False
    if isinstance(given, datetime):
        if given != given:  # pandas' NaT
            raise ParameterError("NaT is no date.", hint=FORMS)
        day = given.replace(hour=0, minute=0, second=0, microsecond=0)
        if whole or (given == day and not written):
            return _utc(day), _utc(day, timedelta(days=1))
        return _utc(given), _utc(given)
    if isinstance(given, date):
        return _calendar(str(given), given.year, given.month, given.day)
    raise ParameterError(f"{_shown(given)} is no date.", hint=FORMS)


def _of_text(text: str, given: Any) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        known = "T" in text or "must be in" in str(error)
        reason = f" ({error})" if known and "Invalid isoformat" not in str(error) else ""
        raise ParameterError(f"{_shown(given)} is no date{reason}.", hint=FORMS) from None


def _calendar(text: str, year: int, month: int | None, day: int | None) -> tuple[datetime, datetime]:
    """First and last moment of a year, month or day, in UTC."""
    try:
        first = datetime(year, month or 1, day or 1, tzinfo=UTC)
    except ValueError as error:
        hint = FORMS
        if month is not None and 1 <= month <= 12 and year:
            length = calendar.monthrange(year, month)[1]
            hint = f"{calendar.month_name[month]} {year} has {length} days."
        raise ParameterError(f"{text!r} is no date: {error}.", hint=hint) from None
    if day is not None:
        return first, _utc(first, timedelta(days=1))
    if month is not None and month < 12:
        return first, first.replace(month=month + 1)
    return first, _LAST if year == 9999 else datetime(year + 1, 1, 1, tzinfo=UTC)


def _utc(given: datetime, more: timedelta = timedelta()) -> datetime:
    """A moment in UTC; plain, where it is one of pandas'."""
    plain = datetime(*given.timetuple()[:6], given.microsecond, given.tzinfo)
    try:
        plain = plain + more
        return plain.replace(tzinfo=UTC) if plain.utcoffset() is None else plain.astimezone(UTC)
    except OverflowError:
        return _LAST if given.year > 5000 else _FIRST


def _text(moment: datetime) -> str:
    if moment <= _FIRST:
        return EARLIEST
    if moment >= _LAST:
        return LATEST
    seconds = f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}"
    return seconds + (f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else "") + "Z"


def _month(given: Any) -> int:
    if hasattr(given, "__index__") and not isinstance(given, bool) and 1 <= given.__index__() <= 12:
        return int(given.__index__())
    if isinstance(given, str):
        text = given.strip().lower().rstrip(".")
        found = [n for n, name in enumerate(_NAMES) if n and len(text) >= 3 and name.startswith(text)]
        if len(found) == 1:
            return found[0]
    raise ParameterError(
        f"{_shown(given)} is no month.", hint='Give numbers from 1 to 12 or names: month=[6, "July"].'
    )


def _shown(given: Any) -> str:
    text = repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= 60 else text[:57] + "…"
