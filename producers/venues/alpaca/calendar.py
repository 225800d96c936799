"""Trading calendar of US equities: sessions, holidays and half days, computed by the exchanges' rules. Pure.

Regular trading is 9:30 to 16:00 in New York, extended trading 4:00 to 9:30 and 16:00 to 20:00; on half days trading
ends at 13:00, extended trading at 17:00. https://www.nyse.com/trade/hours-calendars
Unscheduled closures (a day of mourning, a storm) cannot be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

NEW_YORK: Final = ZoneInfo("America/New_York")
_SECOND: Final = 1_000_000_000
_HOUR: Final = 3600 * _SECOND
_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TradingSession:
    """A trading session, [``opened``, ``closes``), nanoseconds since the Unix epoch."""

    kind: Literal["regular", "extended"]
    opened: int
    closes: int


def session_at(now: int) -> TradingSession | None:
    """Return the session open at ``now`` (nanoseconds since the Unix epoch); None while the market is closed."""
    return next((session for session in sessions(trading_date(now)) if session.opened <= now < session.closes), None)


@lru_cache(maxsize=64)
def _date_in_hour(hour: int) -> date:
    return datetime.fromtimestamp(hour * 3600, UTC).astimezone(NEW_YORK).date()


def trading_date(now: int) -> date:
    """Return the date in New York at ``now``; its offset from UTC is in whole hours."""
    return _date_in_hour(now // _HOUR)


@lru_cache(maxsize=16)
def sessions(day: date) -> tuple[TradingSession, ...]:
    """Return the sessions of a day in New York; none on a weekend or holiday."""
    if day.weekday() >= _SATURDAY or day in holidays(day.year):
        return ()
    half = day in half_days(day.year)
    close, end = (time(13), time(17)) if half else (time(16), time(20))
    early, opens, closes, late = (_at(day, hour) for hour in (time(4), time(9, 30), close, end))
    return (
        TradingSession("extended", early, opens),
        TradingSession("regular", opens, closes),
        TradingSession("extended", closes, late),
    )


@lru_cache(maxsize=16)
def holidays(year: int) -> frozenset[date]:
    """Return the weekdays of ``year`` on which the market is closed."""
    days = [
        _nth(year, 1, _MONDAY, 3),  # Martin Luther King Jr.
        _nth(year, 2, _MONDAY, 3),  # Washington
        easter(year) - 2 * _DAY,
        _nth(year, 6, _MONDAY, 1) - 7 * _DAY,  # Memorial Day: the last Monday of May
        _observed(date(year, 7, 4)),
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _thanksgiving(year),
        _observed(date(year, 12, 25)),
    ]
    new_year = date(year, 1, 1)
    if new_year.weekday() != _SATURDAY:  # on a Saturday it is not observed: Friday ends the accounting year
        days.append(_observed(new_year))
    if year >= 2022:
        days.append(_observed(date(year, 6, 19)))
    return frozenset(days)


@lru_cache(maxsize=16)
def half_days(year: int) -> frozenset[date]:
    """Return the days of ``year`` on which trading ends early."""
    days = [_thanksgiving(year) + _DAY]
    days += [day for day in (date(year, 7, 3), date(year, 12, 24)) if day.weekday() <= _THURSDAY]
    return frozenset(days)


def easter(year: int) -> date:
    """Return Easter Sunday, by the anonymous Gregorian computus (Meeus, Astronomical Algorithms, chapter 8)."""
    century, rest = divmod(year, 100)
    leaps, part = divmod(century, 4)
    moon = (19 * (year % 19) + century - leaps - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    days = (32 + 2 * part + 2 * (rest // 4) - moon - rest % 4) % 7
    shift = (year % 19 + 11 * moon + 22 * days) // 451
    month, day = divmod(moon + days - 7 * shift + 114, 31)
    return date(year, month, day + 1)


def _thanksgiving(year: int) -> date:
    return _nth(year, 11, _THURSDAY, 4)


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _observed(day: date) -> date:
    if day.weekday() == _SATURDAY:
        return day - _DAY
    return day + _DAY if day.weekday() == _SUNDAY else day


def _at(day: date, hour: time) -> int:
    return int(datetime.combine(day, hour, NEW_YORK).timestamp()) * _SECOND
