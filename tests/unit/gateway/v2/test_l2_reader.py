from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner

from alphapulse import topics
from gateway.v2.l2_reader import books_of, partition_of
from schemas.checkpoints import MANIFEST_KEY, BookState, InstrumentEnvelope, Manifest, Unreadable, pack
from tests.fixtures import l2_feed

KEY = b"kraken|BTC-USD"


def records(position: int, total: int, confirmed: int = 0) -> dict[bytes, bytes]:
    made = l2_feed.Feed(levels=3)
    made.snapshot()
    positions = {topics.L2: position}
    envelope = InstrumentEnvelope(1, "kraken", "BTC-USD", positions, BookState.of(made.book()))
    manifest = Manifest(1, {topics.L2: 50}, {KEY.decode(): total}, {}, {KEY.decode(): confirmed} if confirmed else {})
    return {KEY: pack(envelope), MANIFEST_KEY: pack(manifest), b"BTC-USD": b"a symbol's record"}


def test_partitions_are_those_of_the_producers() -> None:
    every = list(range(topics.PARTITIONS))
    for symbol in ("BTC-USD", "ETH-USD", "1000SHIB-USDT", "é-USD"):
        key = f"kraken|{symbol}".encode()
        assert partition_of(("kraken", symbol)) == DefaultPartitioner()(key, every, every)


def test_books_are_taken_with_the_position_after_them() -> None:
    books, position = books_of(records(50, 50, confirmed=10**19))
    assert position == 50
    assert books["kraken", "BTC-USD"].received_time == 10**19, "a book is not written again for each confirmation"


def test_a_record_older_than_its_manifest_is_read_on_from_its_own_position() -> None:
    books, position = books_of(records(30, 50))
    assert (position, len(books)) == (30, 1)


def test_without_a_checkpoint_there_is_no_position() -> None:
    assert books_of({}) == ({}, None)
    books, position = books_of(records(50, 50) | {KEY: b"\xc1"})
    assert (books, position) == ({}, 50), "its book begins with its next snapshot"
    with pytest.raises(Unreadable):
        books_of({MANIFEST_KEY: b"\xc1"})
