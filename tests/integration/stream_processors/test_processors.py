"""The processors as a process on a broker: end to end, killed and restarted, refused input."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from alphapulse import kafka, topics, tracing
from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings
from alphapulse.fixed import decimal_text
from alphapulse.service import Service, last_status_path
from schemas.records import ArbitrageOpportunity, Candle, L2Update
from stream_processors.engine import worker
from stream_processors.processing.arbitrage import ArbitrageRules, SymbolState
from tests.fixtures.kafka_cluster import BROKERS
from tests.fixtures.l2_feed import Feed, reference_candles
from tests.fixtures.market import SECOND
from tests.integration.stream_processors.processes import (
    AGELESS,
    CODEC,
    PATIENCE,
    Processors,
    caught_up,
    count,
    ends,
    publish,
    read_all,
    running,
    settings_for,
    until,
)

INPUTS = (topics.L2, topics.TRADES)


def feeds() -> list[Feed]:
    return [
        Feed("kraken", "BTC-USD", seed=1),
        Feed("coinbase", "BTC-USD", seed=2, middle=6_000_050),
        Feed("kraken", "ETH-USD", seed=3, price_exponent=-3, size_exponent=-6),
        Feed("binance", "BTC-USDT", seed=4, levels=1000),
    ]


async def check_books(processors: Processors, feeds: list[Feed]) -> None:
    books = await processors.books()
    assert books.keys() == {(feed.venue, feed.symbol) for feed in feeds}
    for feed in feeds:
        told, reader = books[feed.venue, feed.symbol], feed.book()
        assert told["sha256"] == reader.book.sha256(feed.price_exponent, feed.size_exponent)
        assert told["valid"]
        assert told["gaps"] == 0
        assert told["sequence"] == feed.sequence - 1
        assert (told["snapshots"], told["deltas"]) == (1, len(feed.records) - 1)
        assert told["level_changes"] == 8 * (len(feed.records) - 1)
        assert told["trades"] == len(feed.trades)
        volume = decimal_text(sum(trade.size for trade in feed.trades), feed.size_exponent)
        assert told["base_volume"] == volume


async def applied(processors: Processors, feeds: list[Feed]) -> bool:
    """Whether all is applied: after a crash, what lies behind the last checkpoint may be committed and is not."""
    books = await processors.books()
    places = {(feed.venue, feed.symbol): feed.sequence - 1 for feed in feeds}
    return {key: book["sequence"] for key, book in books.items()} == places


async def check_candles(settings: KafkaSettings, feeds: list[Feed], interval: int = 1_000_000_000) -> None:
    """The highest revision of each candle that must be closed equals the reference."""
    newest: dict[tuple[str, str, int], Candle] = {}
    for _, _, candle in await read_all(settings, topics.CANDLES):
        key = (candle.venue, candle.symbol, candle.open_time)
        if candle.interval == interval and (key not in newest or candle.revision >= newest[key].revision):
            newest[key] = candle
    for feed in feeds:
        for open_time, expected in reference_candles(feed.trades, interval).items():
            candle = newest[feed.venue, feed.symbol, open_time]
            assert (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades) == (
                expected.open,
                expected.high,
                expected.low,
                expected.close,
                expected.volume,
                expected.trades,
            ), (feed.symbol, open_time, candle)
            assert candle.quote_volume == decimal_text(expected.quote, feed.price_exponent + feed.size_exponent)


async def test_books_candles_and_statistics_follow_the_feed(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, kafka_settings)
    made = feeds()
    async with running(settings) as processors:
        async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
            for feed in made:
                await publish(producer, feed.run(600))
        await until(await caught_up(settings, INPUTS), "everything committed")
        await check_books(processors, made)

        await until(lambda: highest_revisions_complete(kafka_settings, made), "all candles published")
        await check_candles(kafka_settings, made)
        await until(await caught_up(settings, (*INPUTS, topics.DEPTH)), "everything committed")
        await check_depth_and_signals(kafka_settings, made)
        status = await processors.get("/status")
        assert status["records"] >= sum(len(feed.records) + len(feed.trades) for feed in made)
        assert (status["books"], status["gaps"], status["dead_letters"]) == (4, 0, 0)
        assert await processors.stop() == 0


async def backlog(processors: Processors, kafka_settings: KafkaSettings, made: list[Feed], updates: int) -> None:
    """Publish while the processors do not run, and ask them to stop."""
    assert processors.process is not None
    processors.process.send_signal(signal.SIGSTOP)
    async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
        for feed in made:
            await publish(producer, feed.run(updates))
    processors.process.send_signal(signal.SIGTERM)
    processors.process.send_signal(signal.SIGCONT)


async def test_what_is_on_the_broker_at_the_stop_is_processed_and_the_open_candles_published(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, kafka_settings)
    made = feeds()
    async with running(settings) as processors:
        await backlog(processors, kafka_settings, made, 600)
        assert processors.process is not None
        assert await asyncio.to_thread(processors.process.wait, PATIENCE) == 0
    assert await (await caught_up(settings, (*INPUTS, topics.DEPTH)))()
    for interval in (1, 60):
        await check_candles(kafka_settings, made, interval * 1_000_000_000)
    await check_depth_and_signals(kafka_settings, made)
    last = json.loads(last_status_path(settings, "processors").read_text())
    assert last["unread"] == {}
    assert last["published"][topics.CANDLES] == await count(kafka_settings, topics.CANDLES)


Pair = tuple[str, str, str]


def by_pair(made: Iterable[ArbitrageOpportunity]) -> dict[Pair, list[ArbitrageOpportunity]]:
    found: dict[Pair, list[ArbitrageOpportunity]] = {}
    for one in made:
        found.setdefault((one.symbol, one.buy_venue, one.sell_venue), []).append(one)
    return found


async def check_depth_and_signals(settings: KafkaSettings, feeds: list[Feed]) -> None:
    """The last Depth is the book's top, and the opportunities follow from ``md.depth``, each published once."""
    depths = [depth for _, _, depth in await read_all(settings, topics.DEPTH)]
    last = {(depth.venue, depth.symbol): depth for depth in depths}
    for feed in feeds:
        depth, book = last[feed.venue, feed.symbol], feed.book().book
        assert list(zip(depth.bid_prices, depth.bid_sizes, strict=True)) == book.bids.top(20)
        assert list(zip(depth.ask_prices, depth.ask_sizes, strict=True)) == book.asks.top(20)
        assert depth.valid
    symbols: dict[str, SymbolState] = {}
    expected: list[ArbitrageOpportunity] = []
    rules = ArbitrageRules(max_book_age=AGELESS.max_book_age_ms * 1_000_000)
    for depth in depths:
        symbol = symbols.setdefault(depth.symbol, SymbolState(depth.symbol, rules))
        expected += symbol.apply(depth, depth.received_time)
    made = [one for _, _, one in await read_all(settings, topics.ARBITRAGE)]
    assert by_pair(made) == by_pair(expected)
    assert {one.state for one in made} >= {"OPENED", "CHANGED"}


async def highest_revisions_complete(settings: KafkaSettings, feeds: list[Feed]) -> bool:
    """Whether each second's candle has been published with all its trades."""
    trades: dict[tuple[str, str, int], int] = {}
    for _, _, candle in await read_all(settings, topics.CANDLES):
        if candle.interval == SECOND:
            key = (candle.venue, candle.symbol, candle.open_time)
            trades[key] = max(trades.get(key, 0), candle.trades)
    return all(
        trades.get((feed.venue, feed.symbol, open_time), 0) == expected.trades
        for feed in feeds
        for open_time, expected in reference_candles(feed.trades).items()
    )


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.parametrize("kafka_settings", BROKERS, indirect=True)
async def test_killed_under_load_they_go_on_as_if_nothing_had_happened(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, kafka_settings, checkpoint_interval_s=0.3)
    made = feeds()
    processors = Processors(settings)
    await processors.start()
    try:
        async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
            killed = asyncio.Event()

            async def load() -> None:
                rounds = 0
                while rounds < 60 or not killed.is_set():
                    for feed in made:
                        await publish(producer, feed.run(30))
                    await asyncio.sleep(0.02)
                    rounds += 1

            async with asyncio.TaskGroup() as group:
                group.create_task(load())
                for _ in range(2):
                    before = await count(kafka_settings, topics.PROCESSORS_STATE)

                    async def checkpointed(before: int = before) -> bool:
                        return await count(kafka_settings, topics.PROCESSORS_STATE) > before + 20

                    await until(checkpointed, "some checkpoints")
                    processors.kill()
                    await processors.start()
                killed.set()
        await until(await caught_up(settings, INPUTS), "everything committed")
        await until(lambda: applied(processors, made), "everything applied")
        await check_books(processors, made)
        await until(lambda: highest_revisions_complete(kafka_settings, made), "all candles published")
        await check_candles(kafka_settings, made)
        windows = [(w.venue, w.symbol, w.window_start) for _, _, w in await read_all(kafka_settings, topics.STATS)]
        assert len(windows) == len(set(windows)), "a window was published twice"
        await until(await caught_up(settings, (*INPUTS, topics.DEPTH)), "everything committed")
        await check_depth_and_signals(kafka_settings, made)
        assert await processors.stop() == 0
    finally:
        if processors.process is not None and processors.process.poll() is None:
            processors.kill()


@pytest.mark.slow
async def test_two_workers_share_the_partitions_and_hand_them_over(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    made = feeds()
    first_settings = settings_for(tmp_path / "first", kafka_settings)
    async with (
        kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
        running(first_settings) as first,
    ):
        for feed in made:
            await publish(producer, feed.run(200))
        async with running(settings_for(tmp_path / "second", kafka_settings)) as second:

            async def shared() -> bool:
                shares = [(await one.get("/status"))["partitions"] for one in (first, second)]
                return all(len(share) == 6 for share in shares) and not set(shares[0]) & set(shares[1])

            await until(shared, "six partitions each")
            for feed in made:
                await publish(producer, feed.run(200))
            await until(await caught_up(first_settings, INPUTS), "everything committed by both")
            books = await first.books() | await second.books()
            assert {key: book["sha256"] for key, book in books.items()} == {
                (feed.venue, feed.symbol): feed.book().book.sha256(feed.price_exponent, feed.size_exponent)
                for feed in made
            }
            # Each worker that takes a book over publishes it once, whatever was published before; nothing else twice.
            depths = [depth for _, _, depth in await read_all(kafka_settings, topics.DEPTH)]
            assert len({(one.venue, one.symbol, one.sequence) for one in depths}) >= len(depths) - len(made)
            second.kill()
            for feed in made:
                await publish(producer, feed.run(200))

        async def alone() -> bool:
            return len((await first.get("/status"))["partitions"]) == 12

        await until(alone, "all partitions back")
        await until(await caught_up(first_settings, INPUTS), "everything committed")
        await check_books(first, made)
        assert await first.stop() == 0


async def test_undecodable_records_and_gaps_are_told_and_the_rest_goes_on(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, kafka_settings)
    feed = Feed()
    records = list(feed.run(20))
    async with (
        kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
        running(settings) as processors,
    ):
        await publish(producer, records[:10])
        await producer.send_and_wait(topics.L2, b"not avro", key=b"kraken|BTC-USD")
        await producer.send_and_wait(topics.L2, b"\x00\x01\x02\x03\x04\x05", key=b"kraken|BTC-USD")
        await producer.send_and_wait(topics.TRADES, CODEC.encode(records[0]), key=b"kraken|BTC-USD")
        missing = next(i for i, record in enumerate(records) if i >= 10 and isinstance(record, L2Update))
        await publish(producer, [*records[10:missing], *records[missing + 1 :]])
        await until(await caught_up(settings, INPUTS), "everything committed")
        status = await processors.get("/status")
        assert (status["dead_letters"], status["gaps"]) == (3, 1)
        books = await processors.books()
        assert not books["kraken", "BTC-USD"]["valid"]
        told = await processors.get("/books", venue="kraken", symbol="BTC-USD", levels="full")
        assert told["instruments"][0]["bids"] == []
        assert await processors.stop() == 0
    letters = [letter for _, _, letter in await read_all(kafka_settings, topics.DEAD_LETTERS)]
    assert {(letter.source, letter.value[:8], letter.error) for letter in letters} == {
        (topics.L2, b"not avro", "RecordRefused"),
        (topics.L2, b"\x00\x01\x02\x03\x04\x05", "RecordRefused"),
        (topics.TRADES, CODEC.encode(records[0])[:8], "RecordRefused"),
    }
    assert {(letter.partition is not None, letter.offset is not None) for letter in letters} == {(True, True)}
    events = [event for _, _, event in await read_all(kafka_settings, topics.EVENTS)]
    assert [(event.kind, event.venue, event.symbol) for event in events] == [("gap", "kraken", "BTC-USD")]
    last = [depth for _, _, depth in await read_all(kafka_settings, topics.DEPTH)][-1]
    assert (last.valid, last.bid_prices, last.ask_prices) == (False, [], [])


async def test_a_dead_letter_keeps_the_trace_of_its_record(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    header = tracing.TraceContext(7, 9).headers
    async with (
        kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
        running(settings_for(tmp_path, kafka_settings)) as processors,
    ):
        await producer.send_and_wait(topics.L2, b"not avro", key=b"kraken|BTC-USD", headers=header)
        reader = kafka.consumer(kafka_settings, topics.DEAD_LETTERS, group_id=None, client_id="reader")
        async with kafka.running(reader, kafka_settings):
            letter = await asyncio.wait_for(reader.getone(), PATIENCE)
        log = processors.log()
    assert letter.headers == tuple(header)
    (line,) = [told for text in log.splitlines() if "record refused" in (told := json.loads(text))["event"]]
    assert line["trace_id"] == f"{7:032x}"


async def test_a_book_outlives_the_records_it_was_made_of(
    broker: EmbeddedBroker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """The broker has dropped the only snapshot and all before the checkpoint: the state topic alone holds the books."""
    settings = settings_for(tmp_path, kafka_settings, checkpoint_interval_s=0.2)
    made = feeds()
    processors = Processors(settings)
    await processors.start()
    try:
        async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
            for feed in made:
                await publish(producer, feed.run(300))
            await until(await caught_up(settings, INPUTS), "everything committed")
            await processors.stop()
            for topic in INPUTS:
                for number, end in (await ends(kafka_settings, topic)).items():
                    broker.delete_records(topic, number, end)
            await processors.start()
            for feed in made:
                await publish(producer, feed.run(300))
            await until(await caught_up(settings, INPUTS), "everything committed")
        await check_books(processors, made)
        await until(lambda: highest_revisions_complete(kafka_settings, made), "all candles published")
        await check_candles(kafka_settings, made)
        assert (await processors.get("/status"))["lost_records"] == 0
        assert await processors.stop() == 0
    finally:
        if processors.process is not None and processors.process.poll() is None:
            processors.kill()
    # What is open at the end of a process is published as it is, and goes on in the next one.
    await check_candles(kafka_settings, made, 60 * SECOND)
    windows = [window for _, _, window in await read_all(kafka_settings, topics.STATS)]
    assert sum(window.deltas for window in windows) == sum(len(feed.records) - 1 for feed in made)
    assert sum(window.trades for window in windows) == sum(len(feed.trades) for feed in made)
    assert len({(one.venue, one.symbol, one.window_start) for one in windows}) == len(windows)


async def test_records_dropped_unread_are_a_loss_that_is_told(
    broker: EmbeddedBroker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, kafka_settings)
    feed = Feed(trade_every=0)
    processors = Processors(settings)
    await processors.start()
    try:
        async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
            await publish(producer, feed.run(10))
            await until(await caught_up(settings, INPUTS), "everything committed")
            await processors.stop()
            (number, end) = next(item for item in (await ends(kafka_settings, topics.L2)).items() if item[1])
            await publish(producer, feed.run(5))
            broker.delete_records(topics.L2, number, end + 5)
            await publish(producer, feed.run(1))
        await processors.start()

        async def told() -> bool:
            lost: int = (await processors.get("/status"))["lost_records"]
            return lost == 5

        await until(told, "the loss")
        assert not (await processors.books())["kraken", "BTC-USD"]["valid"]
        assert await processors.stop() == 0
    finally:
        if processors.process is not None and processors.process.poll() is None:
            processors.kill()
    events = [event for _, _, event in await read_all(kafka_settings, topics.EVENTS)]
    assert sorted(event.kind for event in events) == ["gap", "lost_records"]


@pytest.mark.slow
async def test_a_broker_that_is_gone_does_not_keep_them_from_stopping(
    broker: EmbeddedBroker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    async with running(settings_for(tmp_path, kafka_settings)) as processors:
        async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
            await publish(producer, Feed().run(300))
        broker.stop()
        code = await processors.stop()
    # Whether something was still to be sent when it went is chance.
    assert code in (0, 2)
    if code:
        told = processors.log().strip().splitlines()[-1]
        assert told.startswith(f"processors: the broker at {kafka_settings.bootstrap} does not answer")


async def test_a_bug_ends_the_worker_with_its_reason(
    kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(worker.INPUTS, topics.L2, (L2Update, broken))
    processors = worker.Worker(Service("processors", settings_for(tmp_path, kafka_settings)))
    async with kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer:
        await publish(producer, Feed().run(3))
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await asyncio.wait_for(processors.run(), PATIENCE)
    assert processors.app.committed(topics.L2) == {}
