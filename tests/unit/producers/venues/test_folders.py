"""The contract of a venue's folder: one suite, all venues found automatically.

A session answers what the protocol asks for, the feed sends what the session's subscriptions want, and the protocol's
books and trades are then the simulated market's; whatever is lost on the way, the stream never claims another book
where the venue's protocol can show it, and has the right one after the next connection.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from producers.feed.actions import FetchSnapshot, Reconnect, Resubscribe, Send
from producers.registry import load, names
from producers.simulator.events import Trades
from producers.simulator.feed import Topic
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from producers.simulator.server import feed_of
from producers.venue_server.dialects import dialect, served
from producers.venue_server.session import BOOK, MARKET_DATA, SessionAnswer
from schemas.records import Trade
from tests.fixtures.protocol_run import ProtocolRun
from tests.fixtures.venue_samples import samples

S = 1_000_000_000
START = 1_700_000_000 * S
VENUES = names()
NONSENSE = (
    b"",
    b"{}",
    b"[]",
    b"\xff",
    b'{"op":"subscribe"}',
    b'{"op":"subscribe","args":[7]}',
    b'{"op":"subscribe","args":[{"channel":"books","instId":"X-Y"}]}',
    b'{"type":"subscribe","channel":"user"}',
    b'{"type":"subscribe","channel":"level2","product_ids":["X-Y"]}',
    b'{"type":"subscribe","channel":"level2","product_ids":1}',
    b'{"action":"subscribe","trades":1}',
    b'{"event":"bts:subscribe","data":{"channel":7}}',
    b'{"event":"bts:subscribe","data":{"channel":"diff_order_book_BTC-USD"}}',
    b'{"event":"bts:subscribe","data":{"channel":"ticker_btcusd"}}',
)


class Link:
    """A protocol and its venue, with a link between them that may lose frames."""

    def __init__(self, venue: str, seed: int = 1, rate: float = 50.0) -> None:
        self.symbols = samples(venue).simulated
        settings = samples(venue).settings.model_copy(update={"symbols": self.symbols})
        self.market = Market(make_listings([venue], self.symbols), seed=seed, rate=rate, start_ns=START)
        self.run = ProtocolRun(load(venue).protocol(settings))
        self.parts = {symbol: self.market.instruments[venue, symbol] for symbol in self.symbols}
        self.feed = feed_of(venue)(list(self.parts.values()))
        self.venue = venue
        self.session = dialect(venue).session(self.feed.instruments)
        self.active: dict[Topic, None] = {}
        self.time = START
        self.frames = 0
        self.lost: set[int] = set()
        self.trades: dict[str, list[int]] = {symbol: [] for symbol in self.symbols}

    def connect(self) -> None:
        for greeting in self.session.greeting(self.time):
            self.deliver(greeting)
        address = urlsplit(dialect(self.venue).path + self.run.protocol.path())
        self.answered(self.session.opened(address.path, dict(parse_qsl(address.query))))
        self.ask(self.run.protocol.subscribe())
        self.act()

    def reconnect(self) -> None:
        self.active.clear()
        self.run.take(self.run.protocol.disconnected(self.time))
        self.run.commands.clear()
        self.session = dialect(self.venue).session(self.feed.instruments)
        self.connect()

    def ask(self, sends: Any) -> None:
        for send in sends:
            assert isinstance(send, Send)
            self.answered(self.session.received(send.text.encode(), self.time))

    def answered(self, answer: SessionAnswer) -> None:
        for reply in answer.replies:
            self.deliver(reply)
        for gone in answer.removed:
            self.active.pop(self.feed.topic(gone), None)
        for new in answer.added:
            for frame in self.feed.opening(new, self.time):
                self.deliver(frame)
            self.active[self.feed.topic(new)] = None

    def deliver(self, frame: bytes) -> None:
        frame = self.session.outgoing(frame)
        self.frames += 1
        if self.frames not in self.lost:
            self.run.frame(self.time + self.frames, frame)

    def go_on(self, seconds: float) -> None:
        for event in self.market.advance(self.time + int(seconds * S)):
            for _, frame in self.feed.frames(event, self.active):
                self.deliver(frame)
            if isinstance(event, Trades):
                self.trades[event.listing.symbol] += [trade.trade_id for trade in event.trades]
            self.act()
        self.time += int(seconds * S)
        for beat in self.session.heartbeat(self.time, idle=False):
            self.deliver(beat)

    def act(self) -> None:
        commands, self.run.commands = self.run.commands, []
        for command in commands:
            if isinstance(command, Reconnect):
                continue
            if isinstance(command, FetchSnapshot):
                self.fetch(command)
                continue
            self.ask(self.run.protocol.resubscribe(command.symbol) if isinstance(command, Resubscribe) else [command])

    def fetch(self, request: FetchSnapshot) -> None:
        address = urlsplit(request.path)
        reply = self.feed.rest(address.path, dict(parse_qsl(address.query)), self.time)
        assert reply is not None
        assert reply.status == 200
        self.run.take(self.run.protocol.snapshot(request, reply.body, self.time + self.frames))

    def check(self) -> None:
        for symbol, part_of_market in self.parts.items():
            listing, reader = part_of_market.listing, self.run.readers[symbol]
            if reader.valid:
                true = part_of_market.book.sha256(-listing.price_decimals, -listing.size_decimals)
                assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == true, symbol


def test_every_venue_has_its_end_of_the_protocol() -> None:
    assert set(served()) == set(names())
    assert {"okx", "coinbase_advanced"} <= set(VENUES)


@pytest.mark.parametrize("venue", VENUES)
def test_books_and_trades_are_the_markets(venue: str) -> None:
    link = Link(venue)
    link.connect()
    assert not [note for note in link.run.notes if note.severity != "INFO"]
    for _ in range(20):
        link.go_on(0.5)
        link.check()
    assert link.run.refused == []
    for symbol in link.symbols:
        state = link.run.protocol.instruments[symbol]
        if any(subscription.feed == BOOK for subscription in link.session.subscriptions.values()):
            assert link.run.valid(symbol)
            assert state.tally.deltas > 100
        found = [int(r.trade_id) % 10**19 for r in link.run.records if isinstance(r, Trade) and r.symbol == symbol]
        assert found == link.trades[symbol]
        assert len(found) > 10
        assert state.tally.gaps == 0
    assert not [note for note in link.run.notes if note.severity != "INFO"]


def test_a_venue_without_books_publishes_quotes_and_bars() -> None:
    link = Link("alpaca", rate=5.0)
    link.connect()
    link.go_on(130)
    for symbol in link.symbols:
        quotes = [quote for quote in link.run.quotes if quote.symbol == symbol]
        part_of_market = link.parts[symbol]
        best = part_of_market.book.bids.best_price(), part_of_market.book.asks.best_price()
        scale = 10 ** (-quotes[-1].price_exponent - part_of_market.listing.price_decimals)
        assert (quotes[-1].bid_price // scale, quotes[-1].ask_price // scale) == best
        bars = [candle for candle in link.run.candles if candle.symbol == symbol]
        assert [bar.revision for bar in bars] == [0, 0]
        assert all(bar.low <= bar.vwap <= bar.high and bar.low <= min(bar.open, bar.close) for bar in bars)
        assert bars[1].open_time - bars[0].open_time == 60 * S


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("seed", range(5))
def test_a_lost_frame_is_noticed_and_healed(venue: str, seed: int) -> None:
    link = Link(venue, seed)
    link.connect()
    link.go_on(2)
    link.lost = {link.frames + 5 + 37 * n + seed for n in range(4)}
    for _ in range(20):
        link.go_on(0.5)
    assert max(link.lost) < link.frames
    losses = [note for note in link.run.notes if note.loss in ("sequence", "trade_id", "checksum")]
    if samples(venue).detects_loss:
        link.check()
        assert losses
    else:
        link.reconnect()
    link.go_on(2)
    link.check()
    for subscription in link.session.subscriptions.values():
        if subscription.feed == BOOK:
            assert all(link.run.valid(symbol) for symbol in link.symbols)


@pytest.mark.parametrize("venue", VENUES)
def test_a_refusal_of_the_venue_is_told(venue: str) -> None:
    link = Link(venue)
    link.session.refuses = lambda key: key[0] in MARKET_DATA
    link.connect()
    assert not MARKET_DATA.intersection(feed for feed, _ in link.session.subscriptions)
    told = {note.kind for note in link.run.notes if note.severity != "INFO"}
    assert told == ({"subscription_refused"} if samples(venue).tells_refusals else set())
    assert link.run.refused == []


@pytest.mark.parametrize("venue", VENUES)
def test_a_session_refuses_what_it_does_not_understand(venue: str) -> None:
    session = dialect(venue).session(["BTC-USD"])
    for message in NONSENSE:
        answer = session.received(message, START)
        assert answer.added == []
        assert answer.replies
    assert session.subscriptions == {}
