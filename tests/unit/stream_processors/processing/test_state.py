from __future__ import annotations

import pytest

from alphapulse.book import OrderBook
from schemas.checkpoints import VERSION, BookState, Manifest, SideState, Unreadable, pack, unpack
from stream_processors.processing.state import InstrumentRecord, Totals
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
    import msgspec

    assert len(msgspec.msgpack.encode(state)) < 8 * 40_000


def test_totals_are_exact_at_any_exponent() -> None:
    totals = Totals()
    totals.trade(5, -1)
    totals.trade(25, -3)
    totals.trade(2, 0)
    totals.trade(2**62, 0)
    totals.trade(2**62, 0)
    totals.trade(2**62, 0)
    assert (totals.trades, totals.volume_exponent) == (6, -3)
    assert int(totals.base_volume) == 2525 + 3 * 2**62 * 1000


def test_bytes_of_another_kind_or_version_are_refused() -> None:
    manifest = Manifest(VERSION, {"md.l2": 5}, {"a|B": 5}, {})
    assert unpack(Manifest, pack(manifest)) == manifest
    with pytest.raises(Unreadable, match="invalid InstrumentRecord of version 1"):
        unpack(InstrumentRecord, pack(manifest))
    with pytest.raises(Unreadable, match="invalid Manifest of version 1"):
        unpack(Manifest, b"\xff\x00")
    with pytest.raises(Unreadable, match="a Manifest of version 2; this release reads 1"):
        unpack(Manifest, pack(Manifest(2, {}, {}, {})))
