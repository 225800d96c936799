"""The kept book and its checksum."""

from __future__ import annotations

import zlib
from decimal import Decimal

from alphapulse.client.book import Book, checksum
from alphapulse.client.messages import BookDelta, BookSnapshot, Level


def snapshot(**changes: object) -> BookSnapshot:
    fields: dict[str, object] = {"channel": "book", "venue": "kraken", "symbol": "BTC-USD", "epoch": "1", "sequence": 1}
    fields |= {"time": 10, "valid": True, "bids": (Level("9", "1"),), "asks": (Level("10", "2"),)}
    return BookSnapshot(**fields | changes)  # type: ignore[arg-type]


def delta(**changes: object) -> BookDelta:
    fields: dict[str, object] = {"channel": "book", "epoch": "1", "previous_sequence": 1, "sequence": 2, "time": 11}
    return BookDelta(**fields | {"bids": (), "asks": ()} | changes)  # type: ignore[arg-type]


def book() -> Book:
    return Book("kraken", "BTC-USD", lambda: 20, lambda: 100)


def test_levels_are_ordered_by_value_not_by_text() -> None:
    kept = book()
    kept.apply(snapshot())
    kept.apply(delta(bids=(Level("10", "1"), Level("8.5", "1"), Level("9", "0")), asks=(Level("9.95", "3"),)))
    assert [level.price for level in kept.bids] == ["10", "8.5"]
    assert [level.price for level in kept.asks] == ["9.95", "10"]
    assert kept.best_ask == Level("9.95", "3")
    assert kept.asks[0].exact() == (Decimal("9.95"), Decimal(3))


def test_the_checksum_is_of_the_best_ten_levels() -> None:
    bids = [Level(str(100 - n), "1.5") for n in range(12)]
    asks = [Level("101", "2")]
    text = "".join(f"{100 - n}:1.5," for n in range(10)) + "|101:2,"
    assert checksum(bids, asks) == zlib.crc32(text.encode())
    assert checksum([], []) == zlib.crc32(b"|")


def test_a_wrong_checksum_ends_the_book_until_a_snapshot() -> None:
    kept = book()
    assert kept.apply(snapshot(checksum=1)) == "checksum"
    assert kept.reason == "checksum"
    assert kept.apply(delta()) == "ignored"
    assert kept.apply(snapshot(checksum=checksum((Level("9", "1"),), (Level("10", "2"),)))) == "applied"
    assert kept.valid


def test_a_delta_of_an_invalid_book_does_not_follow() -> None:
    kept = book()
    kept.apply(snapshot(valid=False, reason="invalid", bids=(), asks=()))
    assert kept.apply(delta()) == "sequence"


def test_a_delta_of_another_epoch_does_not_follow() -> None:
    kept = book()
    kept.apply(snapshot())
    assert kept.apply(delta(epoch="2")) == "sequence"


def test_a_stale_book_keeps_its_last_levels() -> None:
    kept = book()
    kept.apply(snapshot())
    kept.apply(snapshot(valid=False, reason="stale", bids=(), asks=()))
    assert (kept.valid, kept.reason, len(kept.bids)) == (False, "stale", 1)
    kept.apply(snapshot(bids=()))
    assert (kept.valid, len(kept.bids)) == (True, 0)


def test_before_anything_came_it_waits() -> None:
    kept = book()
    assert (kept.valid, kept.reason, kept.age, kept.best_bid) == (False, "waiting", None, None)
