"""Periods: the days, months or years that an animation shows one after the other, and dates in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from geoloom.errors import ParameterError
from geoloom.ops.composite import MOMENT

__all__ = ["Period", "day_in_words", "periods"]

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

MOST = 1000
"""Periods of one animation."""

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time.

    Parameters
    ----------
    label
        In words, as ``13 July 2016``.
    start, end
        First moment, and first moment after it: UTC, as ``2016-07-13T00:00:00Z``.
    count
        Dates that lie in it.
    """

    label: str
    start: str
    end: str
    count: int


Step = Callable[[datetime], tuple[datetime, datetime, str]]
"""From a moment to the start, the end and the label of the period it lies in."""


def periods(dates: Iterable[float], by: str | int) -> tuple[Period, ...]:
    """The periods that hold at least one date, in order.

    Parameters
    ----------
    dates
        Seconds since 1970 UTC; NaN is left out.
    by
        ``day``, ``week`` (from Monday), ``dekad`` (the 1st, 11th and 21st begin one), ``month``, ``year``, or
        a number of days counted from the first date's.

    Raises
    ------
    ParameterError
        If there is no such period, or there would be more than 1,000.
    """
    moments = sorted(datetime.fromtimestamp(date, UTC) for date in dates if math.isfinite(date))
    if not moments:
        return ()
    step = _step(by, moments[0])
    found: dict[datetime, tuple[datetime, str, int]] = {}
    for one in moments:
        start, end, label = step(one)
        found[start] = end, label, found[start][2] + 1 if start in found else 1
        if len(found) > MOST:
            raise ParameterError(
                f"by={by!r} makes more than {MOST:,} frames of these dates.",
                hint='Take longer periods, such as by="month", or filter_date().',
            )
    return tuple(
        Period(label, start.strftime(MOMENT), end.strftime(MOMENT), count)
        for start, (end, label, count) in found.items()
    )


def day_in_words(moment: datetime) -> str:
    """A day as people write it.

    >>> day_in_words(datetime(2016, 7, 3))
    '3 July 2016'
    """
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def _step(by: Any, first: datetime) -> Step:
    if isinstance(by, str) and by in _STEPS:
        return _STEPS[by]
    if isinstance(by, int) and not isinstance(by, bool) and 1 <= by <= 36_500:
        return _days(by, _midnight(first))
    names = ", ".join(f'"{name}"' for name in _STEPS)
    raise ParameterError(f"by={by!r} is no period.", hint=f"There are {names}, or a number of days.")


def _days(count: int, first: datetime) -> Step:
    def step(moment: datetime) -> tuple[datetime, datetime, str]:
        start = first + (moment - first) // (count * DAY) * (count * DAY)
        end = start + count * DAY
        return start, end, _span(start, end)

    return step


def _day(moment: datetime) -> tuple[datetime, datetime, str]:
    start = _midnight(moment)
    return start, start + DAY, day_in_words(start)


def _week(moment: datetime) -> tuple[datetime, datetime, str]:
    start = _midnight(moment) - moment.weekday() * DAY
    end = start + 7 * DAY
    return start, end, _span(start, end)


def _dekad(moment: datetime) -> tuple[datetime, datetime, str]:
    begins = min((moment.day - 1) // 10, 2) * 10 + 1
    start = _midnight(moment).replace(day=begins)
    end = start + 10 * DAY if begins < 21 else _next_month(start)
    return start, end, _span(start, end)


def _month(moment: datetime) -> tuple[datetime, datetime, str]:
    start = _midnight(moment).replace(day=1)
    return start, _next_month(start), f"{MONTHS[start.month - 1]} {start.year}"


def _year(moment: datetime) -> tuple[datetime, datetime, str]:
    start = _midnight(moment).replace(month=1, day=1)
    return start, start.replace(year=start.year + 1), str(start.year)


_STEPS: dict[str, Step] = {"day": _day, "week": _week, "dekad": _dekad, "month": _month, "year": _year}


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _next_month(moment: datetime) -> datetime:
    return (moment.replace(day=1) + 32 * DAY).replace(day=1)


def _span(start: datetime, end: datetime) -> str:
    """Several days in words: 11–20 July 2016."""
    last = end - DAY
    if last <= start:
        return day_in_words(start)
    if (start.year, start.month) == (last.year, last.month):
        return f"{start.day}–{day_in_words(last)}"
    if start.year == last.year:
        return f"{start.day} {MONTHS[start.month - 1]} – {day_in_words(last)}"
    return f"{day_in_words(start)} – {day_in_words(last)}"
