"""The gateway's reader on a real broker's protocol: start from the end's neighbourhood, losses, dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from alphapulse import metrics, topics
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import connection, consumer, producer, running
from gateway import consumer as gateway_consumer
from gateway.consumer import TAIL, Reader, partitions_of
from gateway.fanout import Hub
from gateway.state import MarketState
from schemas import refusals
from schemas.codec import Codec
from schemas.records import DeadLetter, Event
from schemas.refusal_sender import RefusalSender
from tests.fixtures import market
from tests.fixtures.containers import KAFKAS
from tests.fixtures.gateway import NOBODY
from tests.fixtures.market import MAX_BOOK_AGE, START
from tests.fixtures.stream import ManualScheduler
from tests.integration.gateway.conftest import Feed, eventually


@pytest.fixture(params=KAFKAS)
def kafka(request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings for each broker in turn, with all of our topics, empty."""
    settings: KafkaSettings = request.getfixturevalue(request.param)
    return settings


class Reading:
    """A reader with what it reads into."""

    def __init__(self, reader: Reader, state: MarketState, hub: Hub) -> None:
        self.reader = reader
        self.state = state
        self.hub = hub

    async def read_all(self) -> int:
        """Read until nothing is left; return the number of records."""
        total = 0

        async def done() -> bool:
            nonlocal total
            count = await self.reader.step()
            total += count
            return count == 0 and self.hub.live and self.reader.lag == 0

        await eventually(done)
        return total


@pytest.fixture
async def reading(kafka: KafkaSettings) -> AsyncIterator[Reading]:
    codec = Codec()
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    hub = Hub(state, queue_bytes=100_000, schedule=ManualScheduler(), clock=lambda: START)
    async with (
        running(producer(kafka, client_id="gateway"), kafka) as sender,
        running(consumer(kafka, group_id=None, client_id="gateway"), kafka) as records,
    ):
        yield Reading(Reader(records, codec, hub, RefusalSender("gateway", sender, codec, lambda: START)), state, hub)


async def read_topic(kafka: KafkaSettings, topic: str, count: int) -> list[object]:
    """Return the first ``count`` records of a topic."""
    found: list[object] = []
    codec = Codec()
    async with running(consumer(kafka, group_id=None, client_id="test"), kafka) as reader:
        reader.assign([TopicPartition(topic, number) for number in range(topics.PARTITIONS)])

        async def enough() -> bool:
            for batch in (await reader.getmany(timeout_ms=100)).values():
                found.extend(codec.decode(record.value) for record in batch)
            return len(found) >= count

        await eventually(enough)
    return found


async def test_all_records_reach_the_state(reading: Reading, feed: Feed, kafka: KafkaSettings) -> None:
    await feed.put(market.depth(sequence=1), market.trade("1"), market.statistics(), market.candle())
    await reading.reader.begin(await partitions_of(kafka, TAIL))
    live = [reading.hub.live]
    assert await reading.read_all() == 4
    assert [*live, reading.hub.live] == [False, True]
    await feed.put(market.depth(sequence=2), market.trade("1"), market.opportunity(), market.event())
    assert await reading.read_all() == 4
    instrument = reading.state.instrument("kraken", "BTC-USD")
    assert instrument.depth == market.depth(sequence=2)
    assert [trade.trade_id for trade in instrument.trades] == ["1"]
    assert (len(instrument.windows), len(instrument.candles)) == (1, 1)
    assert len(reading.state.opportunities.open()) == 1
    assert len(reading.state.events) == 1


async def test_it_is_live_when_each_partition_was_read_to_its_end_of_that_moment(
    reading: Reading, feed: Feed, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_consumer, "BATCH_RECORDS", 10)
    symbols = [f"A{number}-USD" for number in range(40)]  # over all partitions
    await feed.put(*(market.depth(sequence=number, symbol=symbol) for number in range(1, 6) for symbol in symbols))
    await reading.reader.begin(await partitions_of(kafka, TAIL))
    later = [market.depth(sequence=6, symbol=symbol) for symbol in symbols]
    ends: dict[TopicPartition, int] = {}
    live_at: list[dict[str, int]] = []

    async def live() -> bool:
        nonlocal later
        assert await reading.reader.step() <= 10
        if later:
            await feed.put(*later)  # while it catches up the topics go on
            later = []
        ends.update(reading.reader.ends())
        if reading.hub.live:
            known = reading.state.instruments()
            live_at.append({each.symbol: each.depth.sequence for each in known if each.depth is not None})
        return reading.hub.live

    await eventually(live)
    assert live_at[0].keys() == set(symbols)
    assert set(live_at[0].values()) <= {5, 6}, "nothing of what was there at its start is missing"
    assert all(reading.reader.positions[partition] <= end for partition, end in ends.items())


async def test_a_gateway_that_starts_on_empty_topics_is_live_at_once(reading: Reading, kafka: KafkaSettings) -> None:
    await reading.reader.begin(await partitions_of(kafka, TAIL))
    assert reading.hub.live


async def test_only_the_end_of_a_long_topic_is_read(
    reading: Reading, feed: Feed, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await feed.put(*(market.depth(sequence=number) for number in range(1, 101)))
    monkeypatch.setattr(gateway_consumer, "TAIL", {**TAIL, topics.DEPTH: 10})
    await reading.reader.begin(await partitions_of(kafka, TAIL))
    assert await reading.read_all() == 10
    assert reading.state.instrument("kraken", "BTC-USD").depth == market.depth(sequence=100)


async def test_what_cannot_be_decoded_is_kept_in_dlq_and_stops_nothing(
    reading: Reading, feed: Feed, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "VALUE_BYTES", 100_000)
    foreign = Codec().encode(market.trade())
    large = b"x" * 100_001
    for value in (b"garbage", foreign, large):
        await feed.put_bytes(topics.DEPTH, value, b"BTC-USD")
    await feed.put(market.depth())
    refused = metrics.GATEWAY_RECORDS.labels(topic=topics.DEPTH, outcome="refused")._value
    before = refused.get()
    await reading.reader.begin(await partitions_of(kafka, TAIL))
    await reading.read_all()
    assert refused.get() - before == 3
    assert reading.state.instrument("kraken", "BTC-USD").depth == market.depth()
    letters = await read_topic(kafka, topics.DEAD_LETTERS, 3)
    by_offset = {letter.offset: letter for letter in letters if isinstance(letter, DeadLetter)}
    assert [by_offset[number].value for number in range(3)] == [b"garbage", foreign, large[:100_000]]
    assert all(letter.source == topics.DEPTH and letter.key == b"BTC-USD" for letter in by_offset.values())
    assert all(letter.service == "gateway" and letter.error == "RecordRefused" for letter in by_offset.values())
    assert "expected Depth, found Trade" in by_offset[1].reason
    assert "the first 100000 of 100001 bytes" in by_offset[2].reason


async def test_records_dropped_unread_are_counted_and_told(reading: Reading, feed: Feed, kafka: KafkaSettings) -> None:
    await feed.put(market.depth(sequence=1))
    await reading.reader.begin(await partitions_of(kafka, TAIL))
    await reading.read_all()
    (partition,) = [tp for tp, position in reading.reader._next.items() if position == 1]
    records = [market.depth(sequence=number) for number in range(2, 12)]
    reading.reader._consumer.pause(partition)
    for record in records:
        await feed.put(record)
    async with running(AIOKafkaAdminClient(**connection(kafka)), kafka) as admin:
        await admin.delete_records({partition: RecordsToDelete(6)})
    reading.reader._consumer.resume(partition)
    assert await reading.read_all() >= 5
    assert reading.state.instrument("kraken", "BTC-USD").depth == records[-1]
    (event,) = await read_topic(kafka, topics.EVENTS, 1)
    assert isinstance(event, Event)
    assert (event.kind, event.severity, event.service) == ("lost_records", "WARNING", "gateway")
    assert event.details["topic"] == topics.DEPTH
    assert 0 < int(event.details["records"]) <= 5


async def test_a_missing_topic_is_named(kafka: KafkaSettings) -> None:
    with pytest.raises(BrokerError, match=r"has no topic md\.books; create it with: alphapulse topics create"):
        await partitions_of(kafka, [*TAIL, "md.books"])


async def test_a_broker_that_does_not_answer_is_named() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        await partitions_of(NOBODY, TAIL)
