from __future__ import annotations

from producers.venues.alpaca.watchdog import PATIENCE_SECONDS, StreamWatchdog
from tests.unit.producers.venues.alpaca.test_calendar import at

S = 10**9
NOON = at("2026-11-18T12:00:00")


def test_silence_counts_while_the_market_is_open() -> None:
    dog = StreamWatchdog()
    dog.subscribed(NOON)
    assert dog.mute(NOON + 59 * S) is None
    assert dog.mute(NOON + 60 * S) == 60


def test_data_starts_the_clock_anew() -> None:
    dog = StreamWatchdog()
    dog.subscribed(NOON)
    dog.heard(NOON + 50 * S)
    assert dog.mute(NOON + 100 * S) is None
    assert dog.mute(NOON + 110 * S) == 60


def test_silence_means_nothing_while_the_market_is_closed_and_counts_from_its_opening() -> None:
    dog = StreamWatchdog()
    dog.subscribed(at("2026-11-17T21:00:00"))
    assert dog.mute(at("2026-11-18T03:00:00")) is None
    opening = at("2026-11-18T09:30:00")
    assert dog.mute(opening - S) == 5.5 * 3600 - 1  # nothing came before hours
    assert dog.strikes == 1
    dog.subscribed(opening - S)
    assert dog.mute(opening + 59 * S) is None
    assert dog.mute(opening + 60 * S) == 60


def test_extended_hours_are_quieter() -> None:
    dog = StreamWatchdog()
    early = at("2026-11-18T05:00:00")
    dog.subscribed(early)
    assert dog.mute(early + (PATIENCE_SECONDS["extended"] - 1) * S) is None
    assert dog.mute(early + PATIENCE_SECONDS["extended"] * S) == PATIENCE_SECONDS["extended"]


def test_patience_doubles_while_reconnecting_does_not_help() -> None:
    dog = StreamWatchdog()
    now, waits = NOON, []
    for _ in range(8):
        dog.disconnected()
        dog.subscribed(now)
        assert dog.mute(now) is None
        seconds = next(n for n in range(1, 4000) if dog.mute(now + n * S) is not None)
        waits.append(seconds)
        now += S
    assert waits == [60, 120, 240, 480, 960, 1800, 1800, 1800]
    dog.heard(now)
    assert dog.mute(now + 60 * S) == 60


def test_a_connection_found_mute_is_told_once() -> None:
    dog = StreamWatchdog()
    dog.subscribed(NOON)
    assert dog.mute(NOON + 60 * S) == 60
    assert dog.mute(NOON + 999 * S) is None


def test_without_a_subscription_nothing_is_expected() -> None:
    dog = StreamWatchdog()
    assert dog.mute(NOON) is None
    dog.subscribed(NOON)
    dog.disconnected()
    assert dog.mute(NOON + 3600 * S) is None
