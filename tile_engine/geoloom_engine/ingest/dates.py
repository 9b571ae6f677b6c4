"""Dates as they stand in the names of files and in their metadata."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_FIRST_YEAR, _LAST_YEAR = 1950, 2100

_INSTANT = re.compile(
    r"(?<!\d)(\d{4})([-_:]?)(\d\d)\2(\d\d)[T_ -]?(\d\d)([-_:]?)(\d\d)\6(\d\d)(?:\.\d+)?Z?(?!\d)",
    re.IGNORECASE,
)
_DAY = re.compile(r"(?<!\d)(\d{4})([-_./]?)(\d\d?)\2(\d\d?)(?!\d)")
_DAY_OF_YEAR = re.compile(r"(?<!\d)(\d{4})-?(\d{3})(?!\d)")
_MONTH = re.compile(r"(?<!\d)(\d{4})[-_/]?(\d\d)(?!\d)")
_YEAR = re.compile(r"(?<![\da-z])((?:19|20)\d\d)(?![\da-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a scene was taken: an instant, or the first instant of a month or year.

    Parameters
    ----------
    start
        In UTC.
    end
        Last second of the month or year that a name speaks of; None for an instant or a day.
    """

    start: datetime
    end: datetime | None = None

    def properties(self) -> dict[str, str]:
        """The date as STAC writes it."""
        if self.end is None:
            return {"datetime": stamp(self.start)}
        return {
            "datetime": stamp(self.start),
            "start_datetime": stamp(self.start),
            "end_datetime": stamp(self.end),
        }


def stamp(moment: datetime) -> str:
    """``2020-01-15T00:00:00Z``, with a fraction only where there is one."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def find(text: str) -> Moment | None:
    """The first date in a text such as a file's name: to the second, else the day, the month, the year."""
    for moments in (_instants(text), _days(text), _days_of_year(text), _months(text)):
        for moment in moments:
            return moment
    years = {match[1] for match in _YEAR.finditer(text)}
    # Of several numbers that could be years none is known to be the one.
    return _period(int(years.pop()), None) if len(years) == 1 else None


def read(text: str, form: str) -> Moment | None:
    """A date in a form of `datetime.strptime`; None if the text is no such date."""
    try:
        moment = datetime.strptime(text, form)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if re.search("%[djcxDFsQ]", form):
        return Moment(moment)
    return _period(moment.year, moment.month if re.search("%[mbBh]", form) else None)


def _instants(text: str) -> Iterator[Moment]:
    for match in _INSTANT.finditer(text):
        year, month, day, hour, minute, second = (int(match[i]) for i in (1, 3, 4, 5, 7, 8))
        if _sensible(year) and hour < 24 and minute < 60 and second < 60:
            yield from _valid(year, month, day, hour, minute, second)


def _days(text: str) -> Iterator[Moment]:
    for match in _DAY.finditer(text):
        # Without anything between them, numbers of one digit would be guesses.
        if _sensible(int(match[1])) and (match[2] or len(match[3] + match[4]) == 4):
            yield from _valid(int(match[1]), int(match[3]), int(match[4]))


def _days_of_year(text: str) -> Iterator[Moment]:
    for match in _DAY_OF_YEAR.finditer(text):
        year, day = int(match[1]), int(match[2])
        if _sensible(year) and 1 <= day <= 365 + calendar.isleap(year):
            yield Moment(datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day - 1))


def _months(text: str) -> Iterator[Moment]:
    for match in _MONTH.finditer(text):
        if _sensible(int(match[1])) and 1 <= int(match[2]) <= 12:
            yield _period(int(match[1]), int(match[2]))


def _valid(*parts: int) -> Iterator[Moment]:
    try:
        yield Moment(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type, misc]
    except ValueError:
        return


def _period(year: int, month: int | None) -> Moment:
    start = datetime(year, month or 1, 1, tzinfo=UTC)
    after = datetime(
        year + (month is None or month == 12), 1 if month is None else month % 12 + 1, 1, tzinfo=UTC
    )
    return Moment(start, after - timedelta(seconds=1))


def _sensible(year: int) -> bool:
    return _FIRST_YEAR <= year <= _LAST_YEAR
