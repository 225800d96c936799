"""Conversion of venue timestamps to nanoseconds since the Unix epoch, UTC; exact, without floats."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from alphapulse.errors import ValueRefused
from alphapulse.fixed import INT64_MAX

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))?", re.ASCII)
_UNIX_EPOCH = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000_000
_MS = 1_000_000


@lru_cache(maxsize=64)
def _midnight(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - _UNIX_EPOCH) * 86_400


def iso_nanoseconds(text: str) -> int:
    """Return the time of ``2021-04-17T16:43:37.075351Z`` (up to 9 decimals; an offset or none, which means UTC).

    Returns 0, "no time given", for times before 1970: Coinbase occasionally sends the year 0001.

    Raises:
        ValueRefused: not such a time, or beyond what fits an int64 (year 2262).
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueRefused(f"not an ISO 8601 time: {text[:80]!r}")
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    try:
        seconds = _midnight(day)
    except ValueError as error:
        raise ValueRefused(f"not a date: {text[:80]!r} ({error})") from error
    # Second 60 is a leap second: it continues counting, as Unix time does.
    if hour > "23" or minute > "59" or second > "60":
        raise ValueRefused(f"not a time of day: {text[:80]!r}")
    seconds += int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign is not None:
        offset = int(offset_hour) * 3600 + int(offset_minute) * 60
        seconds += offset if sign == "-" else -offset
    if seconds <= 0:
        return 0
    nanoseconds = seconds * _SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)
    if nanoseconds > INT64_MAX:
        raise ValueRefused(f"time after the year 2262: {text[:80]!r}")
    return nanoseconds


def ms_nanoseconds(milliseconds: int) -> int:
    """Return the time given in milliseconds since the Unix epoch.

    Raises:
        ValueRefused: it is negative or beyond what fits an int64.
    """
    nanoseconds = milliseconds * _MS
    if not 0 <= nanoseconds <= INT64_MAX:
        raise ValueRefused(f"not a time in milliseconds: {milliseconds}")
    return nanoseconds
