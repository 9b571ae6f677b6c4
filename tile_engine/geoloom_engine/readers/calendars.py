"""Times of files as texts: units such as "days since 1970-01-01", in the calendars of the CF conventions.

The calendars of climate models are kept as they are: the 30th of February of a year of 360 days is
"2020-02-30T00:00:00Z".
"""

from __future__ import annotations

import calendar as _months
import datetime
import math
import re
from typing import Any

import cftime
import numpy as np
import numpy.typing as npt

_SINCE = re.compile(r"\s*(\w+)\s+since\s+\S", re.IGNORECASE)
_MONTHS = {"month": 1, "months": 1, "year": 12, "years": 12}
_TEXT = re.compile(r"(-?\d{4,})-(\d\d)-(\d\d)T(.+)Z")


def is_time(units: str | None) -> bool:
    """Whether units count from a date."""
    return bool(units and _SINCE.match(units))


def texts(values: npt.NDArray[Any], units: str, calendar: str | None) -> list[str] | None:
    """Times as ``2020-01-16T12:00:00Z``, to milliseconds; None if units or calendar make no sense.

    Parameters
    ----------
    values
        Counts of the unit.
    units
        As the file has them: "days since 1970-01-01".
    calendar
        Of the CF conventions; None for the standard one.
    """
    calendar = (calendar or "standard").lower()
    numbers = np.asarray(values)
    # A count of float32 means the decimal number that it is written as.
    numbers = numbers.astype(str).astype(np.float64) if numbers.dtype == np.float32 else numbers
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        return None
    word = _SINCE.match(units)
    try:
        if word and word[1].lower() in _MONTHS and calendar != "360_day":
            found = _by_months(numbers, units, calendar, _MONTHS[word[1].lower()])
        else:
            found = cftime.num2date(numbers, units, calendar, only_use_cftime_datetimes=True)
    except (ValueError, TypeError, OverflowError, AttributeError):
        return None
    return [_text(one) for one in np.ravel(found)]


def real_date(text: str) -> str:
    """The day of everybody's calendar nearest to a time of a model's: of 30 February the 28th or 29th."""
    parts = _TEXT.fullmatch(text)
    if parts is None:
        return text
    year, month, day = int(parts[1]), int(parts[2]), int(parts[3])
    if not 1 <= year <= 9999:
        return text
    last = _months.monthrange(year, month)[1]
    return f"{year:04}-{month:02}-{min(day, last):02}T{parts[4]}Z"


def _text(moment: Any) -> str:
    rounded = moment + datetime.timedelta(microseconds=500)
    millis = rounded.microsecond // 1000
    fraction = f".{millis:03}" if millis else ""
    return (
        f"{rounded.year:04}-{rounded.month:02}-{rounded.day:02}"
        f"T{rounded.hour:02}:{rounded.minute:02}:{rounded.second:02}{fraction}Z"
    )


def _by_months(numbers: npt.NDArray[Any], units: str, calendar: str, months: int) -> list[Any]:
    """Whole months on from a date; a fraction of one is that part of the month it lies in."""
    days = _SINCE.sub(lambda found: found[0].replace(found[1], "days", 1), units)
    start = cftime.num2date(0, days, calendar, only_use_cftime_datetimes=True)
    found = []
    for number in np.ravel(numbers).astype(np.float64) * months:
        whole = math.floor(number)
        at = start.year * 12 + start.month - 1 + whole
        first = start.replace(year=at // 12, month=at % 12 + 1, day=1)
        moment = first + datetime.timedelta(days=start.day - 1)
        if number > whole:
            moment += datetime.timedelta(days=(number - whole) * first.daysinmonth)
        found.append(moment)
    return found
