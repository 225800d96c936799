from __future__ import annotations

import msgspec
import pytest

from alphapulse.book import OrderBook
from schemas.book_reader import BookReader
from schemas.checkpoints import (
    VERSION,
    BookState,
    InstrumentEnvelope,
    Manifest,
    SideState,
    Unreadable,
    pack,
    unpack,
)
from stream_processors.processing.state import InstrumentRecord
from tests.fixtures.l2_feed import Feed


def test_prices_are_kept_as_steps() -> None:
    book = OrderBook()
    book.replace([100, 98, 99], [1, 2, 3], [101, 110], [4, 5])
    bids, asks = SideState.of(book.bids), SideState.of(book.asks)
    assert (bids.steps, bids.sizes, bids.prices) == ([100, -1, -1], [1, 3, 2], [100, 99, 98])
    assert (asks.steps, asks.prices) == ([101, 9], [101, 110])
    assert SideState.of(OrderBook().bids).prices == []


def test_a_big_book_stays_small() -> None:
    feed = Feed(levels=20_000)
    feed.snapshot()
    packed = pack(Manifest(VERSION, {}, {}, {}))
    assert len(packed) < 10
    state = BookState.of(feed.book())
    assert len(state.bids.prices) == 20_000
    assert len(msgspec.msgpack.encode(state)) < 8 * 40_000


def test_a_book_is_the_same_again() -> None:
    feed = Feed(levels=30)
    list(feed.run(20))
    before, after = feed.book(), BookReader()
    BookState.of(before).restore(after)
    assert (after.epoch, after.sequence, after.valid) == (before.epoch, before.sequence, True)
    assert (list(after.book.bids), list(after.book.asks)) == (list(before.book.bids), list(before.book.asks))


def test_the_format_is_the_one_of_before() -> None:
    """A record of this version, byte by byte: processors and gateways of several releases read each other's."""
    feed = Feed(levels=2)
    feed.snapshot()
    packed = pack(InstrumentEnvelope(VERSION, "kraken", "BTC-USD", {"md.l2": 1}, BookState.of(feed.book())))
    found = msgspec.msgpack.decode(packed)
    assert found[:4] == [1, "kraken", "BTC-USD", {"md.l2": 1}]
    assert found[4][0] is True
    assert found[4][7] == [[5_999_999, -1], [100_000_001, 100_000_002]]
    assert msgspec.msgpack.decode(pack(Manifest(1, {"a": 2}, {"b": 3}, {"c": 4}, {"d": 5}))) == [
        1,
        {"a": 2},
        {"b": 3},
        {"c": 4},
        {"d": 5},
    ]


def test_bytes_of_another_kind_or_version_are_refused() -> None:
    manifest = Manifest(VERSION, {"md.l2": 5}, {"a|B": 5}, {})
    assert unpack(Manifest, pack(manifest)) == manifest
    with pytest.raises(Unreadable, match="invalid InstrumentRecord of version 1"):
        unpack(InstrumentRecord, pack(manifest))
    with pytest.raises(Unreadable, match="invalid Manifest of version 1"):
        unpack(Manifest, b"\xff\x00")
    with pytest.raises(Unreadable, match="a Manifest of version 2; this release reads 1"):
        unpack(Manifest, pack(Manifest(2, {}, {}, {})))
