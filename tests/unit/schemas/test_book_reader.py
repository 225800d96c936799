"""Following a book; any sequence of drops, doubles and reorders is in tests/property/test_book_reader.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alphapulse.book import Changes
from schemas.book_reader import NO_CHANGES, BookReader, Outcome
from schemas.records import L2Update
from tests.fixtures.records import L2

SNAPSHOT = replace(
    L2, kind="SNAPSHOT", epoch=100, sequence=0, bid_prices=[10, 9], bid_sizes=[1, 2], ask_prices=[11], ask_sizes=[3]
)
DELTA = replace(SNAPSHOT, kind="DELTA", sequence=1, bid_prices=[10, 8], bid_sizes=[0, 5], ask_prices=[], ask_sizes=[])
INVALID = replace(DELTA, kind="INVALID", bid_prices=[], bid_sizes=[])
HEARTBEAT = replace(INVALID, kind="HEARTBEAT", exchange_time=0, received_time=L2.received_time + 1_000)


def following(*updates: L2Update) -> BookReader:
    reader = BookReader()
    for update in updates:
        reader.apply(update)
    return reader


def test_before_the_first_snapshot_it_waits() -> None:
    reader = BookReader()
    assert not reader.valid
    assert reader.apply(DELTA) is Outcome.WAITING
    assert reader.apply(INVALID) is Outcome.WAITING
    assert reader.apply(HEARTBEAT) is Outcome.WAITING
    assert (reader.valid, reader.epoch, len(reader.book.bids)) == (False, 0, 0)


def test_a_snapshot_then_deltas() -> None:
    reader = BookReader()
    assert reader.apply(SNAPSHOT) is Outcome.SNAPSHOT
    assert reader.changes == NO_CHANGES
    assert list(reader.book.bids) == [(10, 1), (9, 2)]
    assert reader.apply(replace(DELTA, exchange_time=5, received_time=6)) is Outcome.DELTA
    assert reader.changes == Changes(added=1, updated=0, removed=1, absent=0)
    assert list(reader.book.bids) == [(9, 2), (8, 5)]
    assert (reader.valid, reader.epoch, reader.sequence) == (True, 100, 1)
    assert (reader.exchange_time, reader.received_time) == (5, 6)
    assert (reader.price_exponent, reader.size_exponent) == (-2, -8)


def test_a_collector_that_cannot_begin_ends_what_a_killed_one_has_left() -> None:
    reader = following(SNAPSHOT, DELTA)
    assert reader.apply(replace(INVALID, epoch=101, sequence=0)) is Outcome.INVALIDATED
    assert (reader.valid, reader.epoch, reader.sequence) == (False, 101, 0)
    assert reader.apply(replace(SNAPSHOT, epoch=102)) is Outcome.SNAPSHOT


def test_what_was_seen_is_ignored() -> None:
    reader = following(SNAPSHOT, DELTA)
    for seen in (SNAPSHOT, DELTA, replace(SNAPSHOT, epoch=99), replace(DELTA, epoch=99, sequence=9)):
        assert reader.apply(seen) is Outcome.SEEN
    assert list(reader.book.bids) == [(9, 2), (8, 5)]


@pytest.mark.parametrize(
    "lost",
    [
        replace(DELTA, sequence=3),
        replace(DELTA, epoch=101, sequence=1),
        replace(DELTA, epoch=101, sequence=2),
        replace(INVALID, sequence=3),
    ],
)
def test_a_gap_ends_the_epoch(lost: L2Update) -> None:
    reader = following(SNAPSHOT, DELTA)
    assert reader.apply(lost) is Outcome.GAP
    assert not reader.valid
    assert len(reader.book.bids) == len(reader.book.asks) == 0
    # The one that was missing comes too late.
    assert reader.apply(replace(DELTA, sequence=2)) is Outcome.WAITING
    assert reader.apply(replace(SNAPSHOT, epoch=102)) is Outcome.SNAPSHOT
    assert reader.valid


@pytest.mark.parametrize("field", ["price_exponent", "size_exponent"])
def test_another_exponent_within_an_epoch_is_doubt(field: str) -> None:
    reader = following(SNAPSHOT)
    changed = replace(DELTA)
    setattr(changed, field, -9)
    assert reader.apply(changed) is Outcome.GAP
    assert not reader.valid


def test_the_collectors_doubt_ends_the_epoch() -> None:
    reader = following(SNAPSHOT)
    assert reader.apply(INVALID) is Outcome.INVALIDATED
    assert (reader.valid, reader.sequence) == (False, 1)
    assert reader.apply(INVALID) is Outcome.SEEN
    assert reader.apply(replace(DELTA, sequence=2)) is Outcome.WAITING
    assert reader.apply(replace(SNAPSHOT, epoch=101)) is Outcome.SNAPSHOT


def test_a_heartbeat_moves_the_books_time_on_and_nothing_else() -> None:
    reader = following(SNAPSHOT, DELTA)
    assert reader.apply(HEARTBEAT) is Outcome.HEARTBEAT
    assert reader.received_time == HEARTBEAT.received_time
    assert (reader.valid, reader.epoch, reader.sequence) == (True, 100, 1)
    assert reader.exchange_time == DELTA.exchange_time
    assert list(reader.book.bids) == [(9, 2), (8, 5)]
    for seen in (HEARTBEAT, replace(HEARTBEAT, received_time=HEARTBEAT.received_time - 1)):
        assert reader.apply(seen) is Outcome.SEEN
    assert reader.received_time == HEARTBEAT.received_time
    assert reader.apply(replace(DELTA, sequence=2)) is Outcome.DELTA


def test_a_heartbeat_of_before_is_ignored() -> None:
    reader = following(SNAPSHOT, DELTA)
    for seen in (replace(HEARTBEAT, sequence=0), replace(HEARTBEAT, epoch=99, sequence=7)):
        assert reader.apply(seen) is Outcome.SEEN
    assert reader.valid
    assert reader.received_time == DELTA.received_time


@pytest.mark.parametrize("ahead", [replace(HEARTBEAT, sequence=2), replace(HEARTBEAT, epoch=101, sequence=0)])
def test_a_heartbeat_of_a_record_that_did_not_come_is_a_gap(ahead: L2Update) -> None:
    reader = following(SNAPSHOT, DELTA)
    assert reader.would_lose(ahead)
    assert reader.apply(ahead) is Outcome.GAP
    assert not reader.valid
    assert not reader.would_lose(ahead)
    assert reader.apply(ahead) is Outcome.WAITING
    assert reader.apply(HEARTBEAT) is Outcome.WAITING  # of the very record that was the last one applied
    assert reader.apply(replace(SNAPSHOT, epoch=102)) is Outcome.SNAPSHOT


def test_a_new_epoch_replaces_all() -> None:
    reader = following(SNAPSHOT, DELTA, replace(SNAPSHOT, epoch=200, price_exponent=-3, bid_prices=[1, 2]))
    assert [price for price, _ in reader.book.bids] == [2, 1]
    assert (reader.epoch, reader.sequence, reader.price_exponent) == (200, 0, -3)


def test_unequal_sides_change_nothing() -> None:
    reader = following(SNAPSHOT)
    with pytest.raises(ValueError, match="1 prices but 2 sizes"):
        reader.apply(replace(DELTA, bid_prices=[1]))
    assert (reader.valid, reader.sequence) == (True, 0)
    assert list(reader.book.bids) == [(10, 1), (9, 2)]
