from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import RequestRefused
from gateway.datasets.times import nanoseconds


@given(st.integers(0, 9_223_286_400_000_000))
def test_microseconds(time: int) -> None:
    assert nanoseconds("from", str(time)) == time * 1000


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 9)),  # noqa: DTZ001 the offset follows
    st.integers(-12 * 60, 14 * 60),
)
def test_rfc_3339(time: datetime, offset: int) -> None:
    aware = time.replace(tzinfo=timezone(timedelta(minutes=offset)))
    passed = aware - datetime(1970, 1, 1, tzinfo=UTC)
    assert nanoseconds("to", aware.isoformat()) == passed // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("yesterday", "found 'yesterday'"),
        ("2026-01-31T09:30:00", "offset"),
        ("2026-01-31T09:30:00 01:00", "%2B"),
        ("2026-13-31T09:30:00Z", "month"),
        ("1969-12-31T23:59:59Z", "between 1970 and 2262"),
        ("9999999999999999", "between 1970 and 2262"),
        ("-1", "found '-1'"),
        ("2026-01-31T09:30:00.1234567Z", "RFC 3339"),
        ("١٢", "RFC 3339"),
    ],
)
def test_what_is_no_time(text: str, named: str) -> None:
    with pytest.raises(RequestRefused, match="query from") as refused:
        nanoseconds("from", text)
    assert named in str(refused.value)
    assert refused.value.code == "bad_value"


def test_z_and_small_letters() -> None:
    assert nanoseconds("at", "1970-01-01t00:00:01.5z") == 1_500_000_000
