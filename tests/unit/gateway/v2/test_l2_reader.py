from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner

from alphapulse import topics
from gateway.v2.l2_reader import books_of, partition_of
from schemas.book_reader import BookReader
from schemas.checkpoints import MANIFEST_KEY, BookState, InstrumentEnvelope, Manifest, Unreadable, pack
from schemas.codec import Codec
from stream_processors.checkpoints.checkpoint import CheckpointLedger
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
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


def test_what_the_processors_write_is_read() -> None:
    made = l2_feed.Feed(levels=30, trade_every=0)
    list(made.run(12))
    partition, codec = Partition(0, Rules(), ArbitrageRules()), Codec()
    for offset, record in enumerate(made.records):
        partition.apply_l2(offset, record, record.received_time, [])
        partition.positions[topics.L2] = offset + 1
    books, position = books_of(dict(CheckpointLedger().take(partition, codec, {})))
    assert position == 13
    reader, expected = BookReader(), made.book()
    books["kraken", "BTC-USD"].restore(reader)
    assert (reader.epoch, reader.sequence, list(reader.book.bids), list(reader.book.asks)) == (
        expected.epoch,
        expected.sequence,
        list(expected.book.bids),
        list(expected.book.asks),
    )
