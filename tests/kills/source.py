"""The source: seeded trades, L2 records and depths, damaged messages among them; and what a sink must have of it.

Everything expected is computed here, in plain Python and from the values before they are encoded.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from aiokafka.partitioner import DefaultPartitioner

from alphapulse import topics
from schemas.codec import Codec
from schemas.records import Depth, L2Update, Record, Trade, key_of

START: Final = int(datetime(2026, 1, 31, 22, 55, tzinfo=UTC).timestamp()) * 10**9
SPAN: Final = 2 * 3600 * 10**9
"""All times lie within two hours, in which an hour ends twice, a day and a month once."""
SECOND: Final = 10**9

VENUES: Final = ("binance", "coinbase", "kraken")
EXPONENTS: Final = {
    "BTC-USD": (-2, -8),
    "ETH-USD": (-2, -8),
    "SOL-USD": (-4, -6),
    "ADA-USD": (-6, -2),
    "XRP-USD": (-5, 0),
    "DOGE-USD": (-7, 0),
    "LTC-BTC": (-8, -8),
    "SHIB-USD": (-10, 3),
}
"""Symbol → exponents of prices and sizes."""
INTERVALS: Final = (7, 60)
"""Seconds of the candles that are compared: of rows, and of the sums that ClickHouse keeps."""
DEPTH_EVERY: Final = 60
"""One depth of the book follows so many records, …"""
BURST: Final = 3
"""… or rather so many, one soon after the other, so that sampling has something to leave out."""
SHAPES: Final = 997
"""Different sets of levels; records are told apart by their sequence."""

Instrument = tuple[str, str]


class Message(NamedTuple):
    """A message to publish."""

    topic: str
    partition: int
    key: bytes
    value: bytes


@dataclass(slots=True)
class RowSums:
    """Rows of one partition.

    Attributes:
        first, last: offsets; -1 without rows.
        offsets: their sum.
        sums: of the topic's columns (:mod:`tests.kills.queries`).
        texts: sum of the CRC-32 of each row's text: no value changed, or went to another row.
    """

    rows: int = 0
    first: int = -1
    last: int = -1
    offsets: int = 0
    sums: list[int] = field(default_factory=list)
    texts: int = 0

    def add(self, offset: int, figures: tuple[int, ...], text: str) -> None:
        """Add a row."""
        if not self.rows:
            self.first = offset
            self.sums = [0] * len(figures)
        self.rows += 1
        self.last = offset
        self.offsets += offset
        for at, figure in enumerate(figures):
            self.sums[at] += figure
        self.texts += zlib.crc32(text.encode())


@dataclass(slots=True)
class CandleSums:
    """A candle in mantissas."""

    first_time: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    products: int = 0
    trades: int = 0
    last_time: int = 0

    def add(self, price: int, size: int, time: int) -> None:
        """Add a trade that is later than all before."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.volume += size
        self.products += price * size
        self.trades += 1
        self.last_time = time


class Top(NamedTuple):
    """The last record of a book's best levels within a second; None: no such level."""

    received_time: int
    valid: bool
    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None


class Shape(NamedTuple):
    """Levels of an L2 record, and their text in a row."""

    bid_prices: list[int]
    bid_sizes: list[int]
    ask_prices: list[int]
    ask_sizes: list[int]
    sums: tuple[int, int, int, int]
    text: str


@dataclass(slots=True)
class Expected:
    """What a sink must have when all is stored.

    Attributes:
        ends: topic and partition → number of messages.
        rows: topic and partition → its rows; trades and L2 records only, because depths are sampled.
        trades: instrument → trades, sums of prices, sizes and their products.
        levels: instrument → L2 records, bids and their sums of prices and sizes, the same of asks.
        candles: interval, instrument and beginning (seconds) → candle.
        tops: instrument and second → top of the book.
        damaged: topic, partition and offset → the message that is no record.
    """

    ends: Counter[tuple[str, int]] = field(default_factory=Counter)
    rows: dict[str, defaultdict[int, RowSums]] = field(
        default_factory=lambda: {topic: defaultdict(RowSums) for topic in (topics.TRADES, topics.L2)}
    )
    trades: dict[Instrument, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 4))
    levels: dict[Instrument, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 7))
    candles: dict[tuple[int, Instrument, int], CandleSums] = field(default_factory=dict)
    tops: dict[tuple[Instrument, int], Top] = field(default_factory=dict)
    damaged: dict[tuple[str, int, int], bytes] = field(default_factory=dict)

    def messages(self, *of: str) -> int:
        """Return the number of messages of topics."""
        return sum(count for (topic, _), count in self.ends.items() if topic in of)


class Source:
    """Messages in the order in which they are published, each partition from offset 0 on.

    Args:
        records: trades and L2 records together.
        damaged: messages among them that are no records.
        seed: another one gives other records.

    Attributes:
        expected: complete once all messages have been taken.
    """

    def __init__(self, records: int, damaged: int, seed: int) -> None:
        self.expected = Expected()
        self._records = records
        self._spacing = max(records // damaged, 2)
        if self._spacing % 5 == 0:  # of five records two are trades: damage falls on all of them in turn
            self._spacing -= 1
        self._step = SPAN // records
        self._chance = random.Random(seed)
        self._codec = Codec()
        self._instruments = [(venue, symbol) for venue in VENUES for symbol in EXPONENTS]
        self._numbers: Counter[Instrument] = Counter()
        self._books: Counter[Instrument] = Counter()
        self._places: dict[bytes, int] = {}
        self._partitioner = DefaultPartitioner()
        self._shapes = [self._shape() for _ in range(SHAPES)]
        self._damages = 0

    @property
    def total(self) -> int:
        """Number of all messages, known beforehand."""
        return self._records + self._records // self._spacing + self._records // DEPTH_EVERY * BURST

    def total_of(self, *of: str) -> int:
        """Return the number of messages of topics: trades and L2 records with the damaged ones, or depths, or all."""
        return self.total if topics.DEPTH in of else self.total - self._records // DEPTH_EVERY * BURST

    def _shape(self) -> Shape:
        chance = self._chance
        counts = (chance.randrange(6), chance.randrange(6))
        prices, sizes = ([[chance.randrange(1, 10**limit) for _ in range(n)] for n in counts] for limit in (8, 10))
        sides = (prices[0], sizes[0], prices[1], sizes[1])
        first, second, third, fourth = sides
        text = "|".join(f"[{','.join(map(str, side))}]" for side in sides)
        return Shape(first, second, third, fourth, (sum(first), sum(second), sum(third), sum(fourth)), text)

    def messages(self) -> Iterator[Message]:
        """Yield all messages."""
        chance = self._chance
        for number in range(self._records):
            time = START + number * self._step
            instrument = self._instruments[chance.randrange(len(self._instruments))]
            make = self._trade if number % 5 < 2 else self._l2
            message = make(instrument, time)
            yield message
            if (number + 1) % self._spacing == 0:
                yield self._damaged(message)
            if (number + 1) % DEPTH_EVERY == 0:
                for part in range(BURST):
                    yield self._depth(instrument, time + part * self._step // BURST)

    def _placed(self, topic: str, record: Record) -> tuple[Message, int]:
        """Return the message of a record and its offset; the key chooses the partition, as for every producer."""
        key = key_of(record)
        partition = self._places.get(key)
        if partition is None:
            every = list(range(topics.PARTITIONS))
            partition = self._places[key] = self._partitioner(key, every, every)
        message = Message(topic, partition, key, self._codec.encode(record))
        offset = self.expected.ends[topic, partition]
        self.expected.ends[topic, partition] = offset + 1
        return message, offset

    def _trade(self, instrument: Instrument, time: int) -> Message:
        chance, expected = self._chance, self.expected
        venue, symbol = instrument
        price_exponent, size_exponent = EXPONENTS[symbol]
        number = self._numbers[instrument]
        self._numbers[instrument] = number + 1
        price = 5_000_000 + number % 1000 + chance.randrange(-500, 500)
        size = chance.randrange(1, 10**10)
        side = "BUY" if number % 3 else "SELL"
        received = time + 1_000
        record = Trade(
            venue=venue,
            symbol=symbol,
            trade_id=str(number),
            side=side,  # type: ignore[arg-type]
            price=price,
            size=size,
            price_exponent=price_exponent,
            size_exponent=size_exponent,
            exchange_time=time,
            received_time=received,
        )
        message, offset = self._placed(topics.TRADES, record)
        text = f"{venue}|{symbol}|{number}|{side}|{price}|{size}|{price_exponent}|{size_exponent}|{time}|{received}"
        expected.rows[topics.TRADES][message.partition].add(offset, (price, size), text)
        sums = expected.trades[instrument]
        for at, figure in enumerate((1, price, size, price * size)):
            sums[at] += figure
        for seconds in INTERVALS:
            key = (seconds, instrument, time // SECOND // seconds * seconds)
            candle = expected.candles.get(key)
            if candle is None:
                candle = expected.candles[key] = CandleSums(time, price, price, price, price)
            candle.add(price, size, time)
        return message

    def _l2(self, instrument: Instrument, time: int) -> Message:
        expected = self.expected
        venue, symbol = instrument
        price_exponent, size_exponent = EXPONENTS[symbol]
        sequence = self._books[instrument]
        self._books[instrument] = sequence + 1
        shape = self._shapes[self._chance.randrange(SHAPES)]
        kind = "DELTA" if sequence else "SNAPSHOT"
        numbered = sequence * 3 if sequence % 2 else None
        checksum = None if sequence % 4 else 4_294_967_295 - sequence
        received = time + 2_000
        record = L2Update(
            venue=venue,
            symbol=symbol,
            kind=kind,  # type: ignore[arg-type]
            epoch=START,
            sequence=sequence,
            exchange_sequence=numbered,
            exchange_time=time,
            received_time=received,
            price_exponent=price_exponent,
            size_exponent=size_exponent,
            bid_prices=shape.bid_prices,
            bid_sizes=shape.bid_sizes,
            ask_prices=shape.ask_prices,
            ask_sizes=shape.ask_sizes,
            checksum=checksum,
        )
        message, offset = self._placed(topics.L2, record)
        text = (
            f"{venue}|{symbol}|{kind}|{START}|{sequence}|{'' if numbered is None else numbered}|{time}|{received}|"
            f"{price_exponent}|{size_exponent}|{shape.text}|{'' if checksum is None else checksum}"
        )
        expected.rows[topics.L2][message.partition].add(offset, (sequence, *shape.sums), text)
        sums = expected.levels[instrument]
        bids, asks = len(shape.bid_prices), len(shape.ask_prices)
        for at, figure in enumerate((1, bids, *shape.sums[:2], asks, *shape.sums[2:])):
            sums[at] += figure
        return message

    def _depth(self, instrument: Instrument, time: int) -> Message:
        chance = self._chance
        venue, symbol = instrument
        price_exponent, size_exponent = EXPONENTS[symbol]
        valid = chance.randrange(12) > 0
        bid = chance.randrange(1_000, 2_000)
        bids = [bid, bid - 1] if valid and chance.randrange(9) else []
        asks = [bid + chance.randrange(1, 50)] if valid and chance.randrange(9) else []
        record = Depth(
            venue=venue,
            symbol=symbol,
            valid=valid,
            epoch=START,
            sequence=self._books[instrument],
            exchange_time=time,
            received_time=time,
            price_exponent=price_exponent,
            size_exponent=size_exponent,
            bid_prices=bids,
            bid_sizes=[chance.randrange(1, 10**9) for _ in bids],
            ask_prices=asks,
            ask_sizes=[chance.randrange(1, 10**9) for _ in asks],
        )
        message, _ = self._placed(topics.DEPTH, record)
        sides = (record.bid_prices, record.bid_sizes, record.ask_prices, record.ask_sizes)
        best = [side[0] if side else None for side in sides]
        self.expected.tops[instrument, time // SECOND] = Top(time, valid, *best)
        return message

    def _damaged(self, good: Message) -> Message:
        """Return a message in the place after ``good`` that is no record, made of it in one of several ways."""
        value, at = good.value, self._damages
        self._damages += 1
        values = (
            value[: len(value) // 2],  # cut
            value + b"\0",  # a byte too many
            b"\0\0\0\0\7" + value[5:],  # an unknown schema
            b"\1" + value[1:],  # another format
            value + value,  # two joined
            value[:5] + b"\xff" * 11 + value[5:],  # a length beyond all bounds
            b"",
            b"no record",
        )
        bad = values[at % len(values)]
        place = (good.topic, good.partition)
        self.expected.damaged[*place, self.expected.ends[place]] = bad
        self.expected.ends[place] += 1
        return Message(*place, good.key, bad)
