"""What a broker must do with what is produced."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import incarnation, native_producer, producer, running
from alphapulse.kafka.native.producer import Told
from alphapulse.topics import MAX_RECORD_BYTES
from tests.integration.kafka.conftest import NewConsumer, NewTopic
from tests.integration.kafka.reading import read, write


async def test_keeps_the_order_of_a_key_through_many_batches(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(4)
    keys = [f"venue|SYM{number}".encode() for number in range(7)]
    async with running(producer(settings, client_id="test", linger_ms=0), settings) as writer:
        sent = []
        for number in range(3_000):
            sent.append(await writer.send(topic, b"%d" % number, key=keys[number % len(keys)]))
            if number % 50 == 0:
                await asyncio.sleep(0)  # lets the client send: without it everything would be one batch
        places = await asyncio.gather(*sent)
    async with running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader:
        records = await read(reader, 3_000)

    assert sorted(int(record.value) for record in records) == list(range(3_000))
    for key in keys:
        of_key = [record for record in records if record.key == key]
        assert [int(r.value) for r in of_key] == sorted(int(r.value) for r in of_key)
        assert len({r.partition for r in of_key}) == 1
    # Offsets run without a gap from 0, and the acknowledgement told the truth about them.
    for partition in range(4):
        in_partition = [record for record in records if record.partition == partition]
        assert [record.offset for record in in_partition] == list(range(len(in_partition)))
    told = {(p.partition, p.offset): number for number, p in enumerate(places)}
    assert {(r.partition, r.offset): int(r.value) for r in records} == told


@pytest.mark.parametrize(
    ("key", "murmur2"),
    # Vectors of Kafka's own UtilsTest.testMurmur2.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
async def test_key_chooses_the_partition_as_the_java_client_does(
    settings: KafkaSettings, new_topic: NewTopic, key: bytes, murmur2: int
) -> None:
    topic = await new_topic(12)
    async with running(producer(settings, client_id="test"), settings) as writer:
        place = await writer.send_and_wait(topic, b"value", key=key)
    assert place.partition == (murmur2 & 0x7FFFFFFF) % 12


@pytest.mark.parametrize("compression", ["none", "gzip", "lz4", "zstd"])
async def test_gives_back_what_it_got(
    settings: KafkaSettings, new_topic: NewTopic, compression: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    settings = settings.model_copy(update={"compression": compression})
    values = [bytes([number]) * 100 for number in range(50)]
    async with running(producer(settings, client_id="test"), settings) as writer:
        sent = [
            await writer.send(topic, value, key=b"k\x00", timestamp_ms=1_700_000_000_000 + n, headers=[("h", b"\xff")])
            for n, value in enumerate(values)
        ]
        await asyncio.gather(*sent)
    async with running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader:
        records = await read(reader, len(values))
    assert [record.value for record in records] == values
    assert {record.key for record in records} == {b"k\x00"}
    assert [record.timestamp for record in records] == [1_700_000_000_000 + n for n in range(50)]
    assert {record.headers for record in records} == {(("h", b"\xff"),)}


async def test_the_native_producer_sends_headers_and_tells_each_record_its_place(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(3)
    header = ("traceparent", b"00-%032x-%016x-01" % (7, 9))
    told: list[tuple[object, int, int]] = []
    settled: list[object] = []

    def placed(error: KafkaError | None, partition: int, offset: int, seconds: float) -> None:
        assert 0.0 < seconds < 60.0
        told.append((error, partition, offset))

    async with running(native_producer(settings, client_id="test"), settings) as writer:
        writer.delivered = lambda *place: settled.append(place)
        assert writer.send(topic, b"plain", key=b"k", partition=1)
        assert writer.send(topic, b"traced", key=b"k", partition=1, headers=[header], placed=placed)
        assert writer.send(topic, b"by key", key=b"21", headers=[header, ("empty", b"")], placed=placed)
        await writer.flush()
    async with running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader:
        records = {record.value: record for record in await read(reader, 3)}
    assert {value: record.headers for value, record in records.items()} == {
        b"plain": (),
        b"traced": (header,),
        b"by key": (header, ("empty", b"")),
    }
    places = [(records[value].partition, records[value].offset) for value in (b"traced", b"by key")]
    assert sorted(told, key=str) == sorted([(None, *place) for place in places], key=str)
    assert records[b"by key"].partition == (-973932308 & 0x7FFFFFFF) % 3
    assert len(settled) == 3, "the producer's own callback is called for them as well"


async def test_a_batch_is_sent_in_its_order_and_a_refused_record_is_told_at_once(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(3)
    murmur2 = {b"21": -973932308, b"foobar": -790332482, b"abc": 479470107}
    keys = tuple(murmur2)
    told: dict[int, KafkaError | None] = {}

    def tell(number: int) -> Told:
        return lambda error, seconds: told.__setitem__(number, error)

    async with running(native_producer(settings, client_id="test", linger_ms=0), settings) as writer:
        writer.send(topic, b"0", key=keys[0], told=tell(0))
        writer.send_batch(topic, [(keys[n % 3], b"%d" % n, tell(n)) for n in range(1, 300)])
        writer.send_batch(topic, [(keys[0], b"x" * (MAX_RECORD_BYTES + 1), tell(300)), (keys[0], b"301", tell(301))])
        assert isinstance(told[300], MessageSizeTooLargeError)
        writer.send_batch(topic, [])
        await writer.flush()
        assert len(writer) == 0
    assert sorted(told) == list(range(302))
    assert [number for number, error in told.items() if error is not None] == [300]
    async with running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader:
        records = await read(reader, 301)
    for key in keys:
        of_key = [record for record in records if record.key == key]
        numbers = [int(record.value) for record in of_key]
        assert numbers == sorted(numbers)
        assert len(numbers) > 50
        assert {record.partition for record in of_key} == {(murmur2[key] & 0x7FFFFFFF) % 3}


async def test_takes_a_whole_book_as_one_record(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    """A snapshot may be larger than aiokafka's own limit of 1 MiB; compressed it fits the broker's."""
    topic = await new_topic(1)
    value = b"".join(b"%012d" % level for level in range(250_000))
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"before", value, b"after"])
    async with running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader:
        records = await read(reader, 3)
    assert [record.value for record in records] == [b"before", value, b"after"]


async def test_tells_first_and_end_offsets_and_its_topics(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(3)
    partitions = [TopicPartition(topic, number) for number in range(3)]
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"x"] * 5, partition=1)
    async with running(consumer(settings, group_id=None, client_id="test"), settings) as reader:
        assert await reader.beginning_offsets(partitions) == dict.fromkeys(partitions, 0)
        assert await reader.end_offsets(partitions) == {partitions[0]: 0, partitions[1]: 5, partitions[2]: 0}
        assert topic in await reader.topics()


async def test_reader_is_told_of_new_records_while_it_waits(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(2)
    async with (
        running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader,
        running(producer(settings, client_id="test"), settings) as writer,
    ):
        for number in range(10):
            waiting = asyncio.create_task(read(reader, 1))
            await write(writer, topic, [b"%d" % number], partition=number % 2)
            assert [record.value for record in await waiting] == [b"%d" % number]


async def test_has_an_incarnation(settings: KafkaSettings) -> None:
    own = await incarnation(settings)
    assert own
    assert await incarnation(settings) == own
    assert await incarnation(settings.model_copy(update={"incarnation": "second life"})) == "second life"


async def test_records_of_a_refused_size_are_told(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    """The client refuses what exceeds its limit at once, and goes on."""
    topic = await new_topic(1)
    async with running(producer(settings, client_id="test"), settings) as writer:
        with pytest.raises(MessageSizeTooLargeError):
            await writer.send(topic, bytes(MAX_RECORD_BYTES + 1))
        await write(writer, topic, [b"small"])
    async with running(consumer(settings, topic, group_id=None, client_id="test"), settings) as reader:
        assert [record.value for record in await read(reader, 1)] == [b"small"]


async def test_a_broker_that_is_not_there_is_named(settings: KafkaSettings, consumer: NewConsumer) -> None:
    nowhere = settings.model_copy(update={"bootstrap": "127.0.0.1:1"})
    for client in (
        producer(nowhere, client_id="test"),
        consumer(nowhere, group_id=None, client_id="test"),
    ):
        with pytest.raises(BrokerError, match=r"kafka\.bootstrap: .*127\.0\.0\.1:1"):
            async with running(client, nowhere):
                pass
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        await incarnation(nowhere)


async def test_a_flush_does_not_wait_for_what_is_sent_after_it(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = await new_topic(1)
    async with running(native_producer(settings, client_id="test"), settings) as writer:

        async def load() -> None:
            while True:
                writer.send(topic, b"value", partition=0)
                await asyncio.sleep(0.001)

        loading = asyncio.create_task(load())
        try:
            for _ in range(20):  # at most of the times one comes before the next record
                async with asyncio.timeout(10):
                    await asyncio.gather(writer.flush(), writer.flush())
        finally:
            loading.cancel()
