from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from producers.venues.alpaca.calendar import NEW_YORK, easter, half_days, holidays, session_at, sessions, trading_date

# As published by the exchanges: https://www.nyse.com/trade/hours-calendars
CLOSED = {
    2021: ["01-01", "01-18", "02-15", "04-02", "05-31", "07-05", "09-06", "11-25", "12-24"],
    2022: ["01-17", "02-21", "04-15", "05-30", "06-20", "07-04", "09-05", "11-24", "12-26"],
    2023: ["01-02", "01-16", "02-20", "04-07", "05-29", "06-19", "07-04", "09-04", "11-23", "12-25"],
    2024: ["01-01", "01-15", "02-19", "03-29", "05-27", "06-19", "07-04", "09-02", "11-28", "12-25"],
    2025: ["01-01", "01-20", "02-17", "04-18", "05-26", "06-19", "07-04", "09-01", "11-27", "12-25"],
    2026: ["01-01", "01-19", "02-16", "04-03", "05-25", "06-19", "07-03", "09-07", "11-26", "12-25"],
    2027: ["01-01", "01-18", "02-15", "03-26", "05-31", "06-18", "07-05", "09-06", "11-25", "12-24"],
}
HALF = {
    2021: ["11-26"],
    2022: ["11-25"],
    2023: ["07-03", "11-24"],
    2024: ["07-03", "11-29", "12-24"],
    2025: ["07-03", "11-28", "12-24"],
    2026: ["11-27", "12-24"],
    2027: ["11-26"],
}


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 10**9


def kind(text: str) -> str | None:
    session = session_at(at(text))
    return session.kind if session is not None else None


@pytest.mark.parametrize("year", CLOSED)
def test_holidays_are_those_published(year: int) -> None:
    assert sorted(holidays(year)) == [date.fromisoformat(f"{year}-{day}") for day in CLOSED[year]]


@pytest.mark.parametrize("year", HALF)
def test_half_days_are_those_published(year: int) -> None:
    assert sorted(half_days(year) - holidays(year)) == [date.fromisoformat(f"{year}-{day}") for day in HALF[year]]


@pytest.mark.parametrize("day", ["1961-04-02", "2000-04-23", "2019-04-21", "2038-04-25", "2285-03-22"])
def test_easter(day: str) -> None:
    assert easter(int(day[:4])) == date.fromisoformat(day)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-18T03:59:59", None),
        ("2026-11-18T04:00:00", "extended"),
        ("2026-11-18T09:29:59", "extended"),
        ("2026-11-18T09:30:00", "regular"),
        ("2026-11-18T15:59:59", "regular"),
        ("2026-11-18T16:00:00", "extended"),
        ("2026-11-18T19:59:59", "extended"),
        ("2026-11-18T20:00:00", None),
        ("2026-11-21T12:00:00", None),  # Saturday
        ("2026-11-22T12:00:00", None),  # Sunday
        ("2026-11-26T12:00:00", None),  # Thanksgiving
        ("2026-11-27T12:59:59", "regular"),  # half day
        ("2026-11-27T13:00:00", "extended"),
        ("2026-11-27T17:00:00", None),
        ("2026-03-09T09:30:00", "regular"),  # the first Monday of daylight saving time
        ("2026-11-02T09:29:59", "extended"),  # and the first without
    ],
)
def test_sessions(time: str, expected: str | None) -> None:
    assert kind(time) == expected


def test_a_session_tells_when_it_opened_in_utc() -> None:
    session = session_at(at("2026-07-01T12:00:00"))
    assert session is not None
    assert session.opened == int(datetime.fromisoformat("2026-07-01T13:30:00+00:00").timestamp()) * 10**9
    assert session.closes - session.opened == 6.5 * 3600 * 10**9


def test_a_year_has_about_252_trading_days_whose_sessions_do_not_overlap() -> None:
    for year in range(2022, 2040):
        days = [date(year, 1, 1) + timedelta(days=n) for n in range(366)]
        traded = [parts for day in days if day.year == year and (parts := sessions(day))]
        assert 249 <= len(traded) <= 253
        for early, regular, late in traded:
            assert early.opened < early.closes == regular.opened < regular.closes == late.opened < late.closes


def test_the_trading_date_is_new_yorks() -> None:
    assert trading_date(at("2026-11-18T19:30:00")) == date(2026, 11, 18)  # the 19th in UTC
