"""One wrong stamp does not move the market's time; a market that truly is at another time is followed."""

from __future__ import annotations

import pytest

from stream_processors.processing.market_clock import EARLIEST_NS, TOLERANCE_NS, WITNESSES, MarketClock
from tests.fixtures.market import SECOND, START

YEARS = 5 * 365 * 86_400 * SECOND
"""How long ago the market of a replay was."""


def clock() -> MarketClock:
    return MarketClock()


def see(it: MarketClock, time: int, received: int) -> int:
    """Let a trade come; return the watermark."""
    counts_at, _ = it.time_of(time, received)
    it.observe(counts_at, received, received)
    return it.latest


def test_live_trades_move_it_at_once() -> None:
    it = clock()
    for second in (0, 1, 600, 599, 601):
        see(it, START + second * SECOND, START + second * SECOND + 5_000_000)
    assert it.latest == START + 601 * SECOND
    assert it.at(it.received + SECOND) == it.latest + SECOND


@pytest.mark.parametrize("stamp", [0, 1, -(2**63), EARLIEST_NS - 1, START + 3_000 * SECOND, 2**63 - 1])
def test_a_stamp_that_cannot_be_counts_at_the_markets_time(stamp: int) -> None:
    it = clock()
    assert it.time_of(stamp, START) == (START, False), "nothing is known yet but the receipt"
    see(it, START - 5_000_000, START)
    assert it.time_of(stamp, START + SECOND) == (START + SECOND - 5_000_000, False)


def test_a_stamp_a_little_ahead_is_believed_but_the_watermark_waits_for_the_receipt() -> None:
    it = clock()
    stamp = START + TOLERANCE_NS
    assert it.time_of(stamp, START) == (stamp, True)
    assert see(it, stamp, START) == START


def test_a_trade_in_time_puts_right_what_late_reports_have_said() -> None:
    it = clock()
    see(it, START, START)
    for number in range(WITNESSES - 1):
        assert see(it, START - 3_600 * SECOND + number, START + number) == START
    see(it, START - 3_600 * SECOND, START + 5)
    assert see(it, START + 6, START + 6) == START + 6


def test_one_stamp_of_now_in_a_feed_that_is_late_is_forgotten() -> None:
    it, late = clock(), 900 * SECOND
    for number in range(20):
        see(it, START + number * SECOND - (0 if number == 5 else late), START + number * SECOND)
    assert it.latest == START + 19 * SECOND - late


def test_a_time_that_is_ahead_of_every_receipt_is_not_kept() -> None:
    it = clock()
    it.restore(START + 3_000 * SECOND, START, START)
    assert see(it, START + SECOND, START + SECOND) == START + SECOND


def test_the_market_of_a_replay_is_that_of_its_trades() -> None:
    it = clock()
    for number in range(20):
        see(it, START - YEARS + number * 10 * SECOND, START + number)
    assert it.latest == START - YEARS + 190 * SECOND


@pytest.mark.parametrize("bad", [0, 1, 5])
@pytest.mark.parametrize("ahead", [3_000, 86_400, -86_400])
def test_one_wrong_stamp_in_a_replay_moves_nothing_for_long(bad: int, ahead: int) -> None:
    it = clock()
    for number in range(20):
        off = ahead * SECOND if number == bad else 0
        see(it, START - YEARS + number * SECOND + off, START + number)
        if number > max(bad, WITNESSES):
            assert START - YEARS < it.latest <= START - YEARS + number * SECOND
    assert it.latest == START - YEARS + 19 * SECOND


def test_a_replay_that_leaps_or_starts_over_is_followed() -> None:
    it = clock()
    for number in range(5):
        see(it, START - YEARS + number * SECOND, START)
    for offset in (7 * 86_400, -7 * 86_400):
        for number in range(WITNESSES + 1):
            see(it, START - YEARS + (offset + number) * SECOND, START)
        assert it.latest == START - YEARS + (offset + WITNESSES) * SECOND


def test_a_backlog_is_read_by_its_receipts() -> None:
    """An hour of quiet market, read in a moment: the receipts say that the time went by."""
    it = clock()
    it.observe(START, START, START + 7_200 * SECOND)
    it.observe(START + 3_600 * SECOND, START + 3_600 * SECOND, START + 7_200 * SECOND)
    assert it.latest == START + 3_600 * SECOND


def test_a_later_owner_goes_on() -> None:
    it, later = clock(), clock()
    see(it, START - YEARS, START)
    later.restore(it.latest, it.received, START)
    assert see(later, START - YEARS + SECOND, START) == START - YEARS + SECOND
    assert clock().at(START) == 0


def test_where_no_trade_has_a_time_the_receipts_are_the_market() -> None:
    it = clock()
    for second in (0, 1, 2):
        assert see(it, 0, START + second * SECOND) == START + second * SECOND
    assert it.at(START + 3 * SECOND) == START + 3 * SECOND


@pytest.mark.parametrize("ago", [0, YEARS])
def test_the_first_times_of_trades_take_the_place_of_receipts(ago: int) -> None:
    it = clock()
    see(it, 0, START)
    for second in range(1, WITNESSES + 1):
        see(it, START - ago + second * SECOND, START + second * SECOND)
    see(it, 0, START + WITNESSES * SECOND)
    assert START - ago < it.latest <= START - ago + WITNESSES * SECOND
