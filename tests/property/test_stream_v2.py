"""The stream's promise: a client that follows the rule holds the reference book at each position that it claims.

Random records, subscription times, drops, reconnects with ``since`` (to another gateway, too), slow clients, every
pace, both encodings.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.fixed import decimal_text
from gateway.v2.encoding import JSON, MSGPACK
from schemas.book_reader import BookReader
from schemas.records import Depth, L2Update, Trade
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2, ClientV2
from tests.fixtures.market import START
from tests.fixtures.stream import ManualScheduler
from tests.fixtures.stream_v2 import FollowedBook, Sides, sides_of

AGES = 10**18
MS = 1_000_000
INTERVALS = (0, 100, 250, 1000)


class Walk:
    """Depth and L2 records of one random book, and the reference book at each position."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.time = START
        self.epoch = START
        self.sequence = 0
        self.reader = BookReader()
        self.reference: dict[tuple[str, int], Sides] = {}
        self.whole: dict[tuple[str, int], Sides] = {}
        self.trades: list[str] = []

    def step(self) -> tuple[L2Update, Depth]:
        """Return the next record of both topics."""
        self.time += self.chance.randint(1, 60) * MS
        kind = self.chance.random()
        if not self.reader.valid or kind < 0.03:
            self.epoch, self.sequence = self.time, 0
            update = self._update("SNAPSHOT", self._levels(-1, 30), self._levels(+1, 30))
        elif kind < 0.06:
            self.sequence += 1
            update = self._update("INVALID", [], [])
        elif kind < 0.2:
            update = self._update("HEARTBEAT", [], [])
        else:
            self.sequence += 1
            update = self._update("DELTA", self._changes(-1), self._changes(+1))
        self.reader.apply(update)
        depth = self._depth()
        place = (str(depth.epoch), depth.sequence)
        if depth.valid:
            self.reference[place] = sides_of(depth)
            book = self.reader.book
            self.whole[place] = (
                {decimal_text(p, -2): decimal_text(s, -3) for p, s in book.bids},
                {decimal_text(p, -2): decimal_text(s, -3) for p, s in book.asks},
            )
        return update, depth

    def _levels(self, sign: int, count: int) -> list[tuple[int, int]]:
        return [(1000 + sign * (1 + n), self.chance.randint(1, 9)) for n in range(count)]

    def _changes(self, sign: int) -> list[tuple[int, int]]:
        count = self.chance.randint(0, 4)
        prices = self.chance.sample(range(1, 40), count)
        return [(1000 + sign * price, self.chance.choice((0, self.chance.randint(1, 9)))) for price in prices]

    def _update(self, kind: Any, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> L2Update:
        return L2Update(
            venue="kraken",
            symbol="BTC-USD",
            kind=kind,
            epoch=self.epoch,
            sequence=self.sequence,
            exchange_time=self.time,
            received_time=self.time,
            price_exponent=-2,
            size_exponent=-3,
            bid_prices=[price for price, _ in bids],
            bid_sizes=[size for _, size in bids],
            ask_prices=[price for price, _ in asks],
            ask_sizes=[size for _, size in asks],
        )

    def _depth(self) -> Depth:
        book = self.reader.book
        return replace(
            market.depth(book.bids.top(20), book.asks.top(20)),
            valid=self.reader.valid,
            epoch=self.reader.epoch,
            sequence=self.reader.sequence,
            exchange_time=self.time,
            received_time=self.time,
            price_exponent=-2,
            size_exponent=-3,
        )

    def trade(self) -> Trade:
        self.time += MS
        self.trades.append(str(len(self.trades)))
        return market.trade(self.trades[-1], exchange_time=self.time, received_time=self.time)


def best(sides: Sides, levels: int) -> Sides:
    """Return the best levels of both sides, which are in order."""
    bids, asks = (dict(list(side.items())[:levels]) for side in sides)
    return bids, asks


class Reader:
    """A client of one book that checks each position against the reference; it drops and comes back."""

    def __init__(self, fields: dict[str, Any], reference: dict[tuple[str, int], Sides], levels: int) -> None:
        self.fields = {"op": "subscribe", "venue": "kraken", "symbol": "BTC-USD"} | fields
        self.reference = reference
        self.levels = levels
        self.book = FollowedBook()
        self.client: ClientV2 | None = None
        self.recovered = 0

    def connect(self, bench: BenchV2, encoding: Any, *, since: bool) -> None:
        before = self.book
        self.client = bench.client(encoding)
        self.client.read()
        fields = dict(self.fields)
        known = since and before.valid
        if known:
            fields["since"] = [before.position()]
        else:
            self.book = FollowedBook()
        self.client.session.receive(*_message(encoding, fields))
        bench.tick.run()
        found = self.client.wire.read()
        (answer,) = [message for message in found if message["type"] == "subscribed"]
        (feed,) = answer["feeds"]
        assert feed["recovered"] is (None if not known else feed["recovered"])
        if feed["recovered"]:
            self.recovered += 1
        elif known:
            self.book = FollowedBook()
        self.take(found)
        if feed["recovered"]:
            assert self.book is before
            assert self.book.valid

    def drop(self, bench: BenchV2) -> None:
        assert self.client is not None
        bench.hub.closed(self.client.session)
        self.client = None

    def read(self) -> None:
        if self.client is not None:
            self.take(self.client.wire.read())

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            assert message["type"] != "error", message
            if message.get("channel") != self.fields["channel"] or "bids" not in message:
                continue
            self.book.apply(message)
            if self.book.valid:
                expected = self.reference[self.book.epoch, self.book.sequence]
                assert self.book.sides == best(expected, self.levels)


def _message(encoding: Any, fields: dict[str, Any]) -> tuple[str | None, bytes | None]:
    data = encoding.encode(fields)
    return (data.decode(), None) if encoding is JSON else (None, data)


class Market:
    """Two gateways that read the same topics, and readers that come and go."""

    def __init__(self, channel: str, seed: int, interval: int, levels: int) -> None:
        self.channel = channel
        self.chance = random.Random(seed)
        self.walk = Walk(seed)
        self.tick = ManualScheduler()
        self.benches = [BenchV2(queue_bytes=3000, max_book_age=AGES, tick=self.tick) for _ in range(2)]
        for bench in self.benches:
            bench.streams.l2.book("kraken", "BTC-USD")
            bench.load_l2()
        fields: dict[str, Any] = {"channel": channel, "interval_ms": interval, "checksum": self.chance.random() < 0.5}
        self.levels = levels if channel == "book" else 1000
        if channel == "book":
            fields["levels"] = levels
        self.reference = self.walk.reference if channel == "book" else self.walk.whole
        self.readers = [Reader(fields, self.reference, self.levels) for _ in range(3)]
        self.homes: dict[Reader, BenchV2] = {}

    def step(self) -> None:
        """Publish a record, let the readers act, let the time pass, read."""
        update, depth = self.walk.step()
        for bench in self.benches:
            bench.put(update if self.channel == "l2" else depth)
        for reader in self.readers:
            self.act(reader)
        # The wall clock follows the records'.
        self.tick.advance(max((self.walk.time - self.tick.clock()) / 1e9, 0.0))
        for reader in self.readers:
            reader.read()

    def act(self, reader: Reader) -> None:
        action = self.chance.random()
        if reader.client is None:
            if action < 0.3:
                home = self.homes[reader] = self.chance.choice(self.benches)
                reader.connect(home, self.chance.choice((JSON, MSGPACK)), since=self.chance.random() < 0.8)
        elif action < 0.05:
            reader.drop(self.homes[reader])
        elif action < 0.2:
            self.clog(reader, not reader.client.wire.clogged)

    def clog(self, reader: Reader, clogged: bool) -> None:
        if reader.client is not None:
            reader.client.wire.clogged = clogged
            if not clogged:
                self.homes[reader].hub.waiting(reader.client.session)

    def settle(self) -> None:
        """Let everybody read to the end, and compare."""
        for reader in self.readers:
            self.clog(reader, False)
        self.tick.advance(2.0)
        newest = (str(self.walk.reader.epoch), self.walk.reader.sequence)
        for reader in self.readers:
            reader.read()
            if reader.client is not None:
                assert reader.book.valid is self.walk.reader.valid
                if reader.book.valid:
                    assert reader.book.sides == best(self.reference[newest], self.levels)


@pytest.mark.parametrize("channel", ["book", "l2"])
@given(seed=st.integers(0, 2**32), interval=st.sampled_from(INTERVALS), levels=st.sampled_from((1, 5, 10, 20)))
@settings(deadline=None)
def test_a_client_holds_the_reference_book_at_every_position(
    channel: str, seed: int, interval: int, levels: int
) -> None:
    played = Market(channel, seed, interval, levels)
    for _ in range(120):
        played.step()
    played.settle()


@given(seed=st.integers(0, 2**32), interval=st.sampled_from(INTERVALS))
@settings(deadline=None)
def test_trades_are_complete_or_the_hole_is_told(seed: int, interval: int) -> None:
    chance = random.Random(seed)
    walk = Walk(seed)
    tick = ManualScheduler()
    benches = [BenchV2(queue_bytes=2000, max_book_age=AGES, tick=tick) for _ in range(2)]
    got: list[str] = []
    client: ClientV2 | None = None
    home = benches[0]
    for _ in range(200):
        trade = walk.trade()
        for bench in benches:
            bench.put(trade)
        action = chance.random()
        if client is None and action < 0.4:
            home = chance.choice(benches)
            client = home.client(JSON)
            client.read()
            since = [{"venue": "kraken", "symbol": "BTC-USD", "trade_id": got[-1]}] if got else []
            client.session.receive(
                *_message(
                    JSON,
                    {
                        "op": "subscribe",
                        "channel": "trades",
                        "venue": "kraken",
                        "symbol": "BTC-USD",
                        "interval_ms": interval,
                        "since": since,
                    },
                )
            )
        elif client is not None and action < 0.05:
            _take_trades(client, got, walk)
            home.hub.closed(client.session)
            client = None
        elif client is not None and action < 0.1:
            client.wire.clogged = not client.wire.clogged
            if not client.wire.clogged:
                home.hub.waiting(client.session)
        tick.advance(max((walk.time - tick.clock()) / 1e9, 0.0))
        if client is not None:
            _take_trades(client, got, walk)


def _take_trades(client: ClientV2, got: list[str], walk: Walk) -> None:
    for message in client.wire.read():
        if message["type"] == "subscribed" and message["feeds"][0]["recovered"] is False:
            got.clear()
        if "trades" not in message:
            continue
        ids = [trade["id"] for trade in message["trades"]]
        if message["type"] == "snapshot":
            assert not got or message.get("gap") is True, "a snapshot without a word of what it left out"
            got.clear()
        got += ids
        assert got == walk.trades[int(got[0]) : int(got[0]) + len(got)] if got else True
