from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError
from aiokafka.partitioner import DefaultPartitioner

from alphapulse import metrics, topics
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError, RegistryUnavailable
from gateway.v2 import l2_reader
from gateway.v2.l2_books import L2Books
from gateway.v2.l2_reader import L2Reader, books_of, keep_newest, partition_of
from schemas.book_reader import BookReader
from schemas.checkpoints import MANIFEST_KEY, BookState, InstrumentEnvelope, Manifest, Unreadable, pack
from schemas.codec import Codec
from stream_processors.checkpoints.checkpoint import CheckpointLedger
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
from tests.fixtures import l2_feed
from tests.fixtures.market import MAX_BOOK_AGE, START

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


def test_a_record_without_a_value_deletes_its_key() -> None:
    newest: dict[bytes, bytes] = {}
    written = [(KEY, b"old"), (MANIFEST_KEY, b"m"), (None, b"x"), (KEY, None), (b"gone", None), (b"a", b"1")]
    keep_newest(newest, [SimpleNamespace(key=key, value=value) for key, value in written])
    assert newest == {MANIFEST_KEY: b"m", b"a": b"1"}


class QuietConsumer:
    """A consumer without records whose partitions hold ``END``; a read calls ``on_read``."""

    END = 7

    def __init__(self, on_read: Callable[[], None]) -> None:
        self._on_read = on_read
        self.assigned: list[TopicPartition] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    def highwater(self, partition: TopicPartition) -> int | None:
        return None

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.END)

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        self._on_read()
        return {}


class Restored(L2Reader):
    """Reads no checkpoints."""

    async def _restore(self, numbers: Any) -> dict[int, int]:
        return {}


class Unanswered(L2Reader):
    """Waits for checkpoints for ever."""

    async def _restore(self, numbers: Any) -> dict[int, int]:
        await asyncio.Event().wait()
        raise AssertionError


def reader_of(kind: type[L2Reader]) -> L2Reader:
    books = L2Books(Codec(), MAX_BOOK_AGE, lambda _, __: None)
    made = kind(KafkaSettings(), Codec(), books, lambda: START, client_id="test")
    books.want("kraken", "BTC-USD")
    return made


def failures() -> float:
    return metrics.GATEWAY_L2_FAILURES._value.get()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "error",
    [BrokerError("x"), RegistryUnavailable("x"), ConsumerStoppedError(), TypeError("x"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_no_failure_ends_the_reading(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    lags: list[int] = []
    again = asyncio.Event()

    def on_read() -> None:
        lags.append(reader.lag)
        if len(lags) == 1:
            raise error
        again.set()

    monkeypatch.setattr(l2_reader, "native_consumer", lambda *_, **__: QuietConsumer(on_read))
    monkeypatch.setattr(l2_reader, "RETRY_SECONDS", 0)
    reader, before = reader_of(Restored), failures()
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(10):
        await asyncio.wait({running, asyncio.create_task(again.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert not running.done()
    assert (failures() - before, lags[:2]) == (1, [QuietConsumer.END] * 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_broker_that_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l2_reader, "native_consumer", lambda *_, **__: QuietConsumer(lambda: None))
    monkeypatch.setattr(l2_reader, "ADD_SECONDS", 0.001)
    reader, before = reader_of(Unanswered), failures()
    assert reader.lag == 0
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(10):
        while failures() == before:
            await asyncio.sleep(0.001)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
