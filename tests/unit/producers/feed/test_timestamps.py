from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import ValueRefused
from producers.feed.timestamps import iso_nanoseconds, ms_nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("2021-04-17T16:43:37.075351Z", 1618677817_075351000),
        ("2021-04-17T16:43:37.123456789Z", 1618677817_123456789),
        ("2021-04-17T16:43:37.5", 1618677817_500000000),
        ("2021-04-17T18:43:37.5+02:00", 1618677817_500000000),
        ("2021-04-17T15:13:37.5-01:30", 1618677817_500000000),
        ("2016-12-31T23:59:60Z", 1483228800_000000000),
        ("0001-01-01T00:00:00.000000Z", 0),
        ("1969-12-31T23:59:59Z", 0),
    ],
)
def test_iso(text: str, nanoseconds: int) -> None:
    assert iso_nanoseconds(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "2021-04-17", "2021-02-30T00:00:00Z", "2021-04-17T24:00:00Z", "2021-04-17T10:60:00Z", "2021-04-17T10:00:61Z",
     "2021-04-17T16:43:37.1234567891Z", "2300-01-01T00:00:00Z", "٢٠٢١-04-17T16:43:37Z", "yesterday"],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        iso_nanoseconds(text)
    assert repr(text) in str(caught.value)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1)))  # noqa: DTZ001 naive on purpose, taken for UTC
def test_iso_agrees_with_the_standard_library(moment: datetime) -> None:
    microseconds = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert iso_nanoseconds(moment.isoformat() + "Z") == microseconds * 1000


def test_milliseconds() -> None:
    assert ms_nanoseconds(1723161255208) == 1723161255208_000_000
    for wrong in (-1, 2**63 // 10**6 + 1):
        with pytest.raises(ValueRefused, match=str(wrong)):
            ms_nanoseconds(wrong)
