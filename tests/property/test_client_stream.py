"""The client's core against random markets, faults and reconnections: a book that says it is valid is the true one.

Every book that the core calls in step equals the reference at the (epoch, sequence) it claims; every trade is delivered
once and in order, or a gap is told where some are missing.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.client.events import Delivered, Event
from alphapulse.client.messages import Gap, Trades, TradesSnapshot
from alphapulse.client.session import AGAIN_AFTER, Session
from alphapulse.client.subscriptions import Request
from alphapulse.client.wire import Encoding
from tests.fixtures.examples import examples
from tests.fixtures.stream_gateway import FakeGateway, ReferenceMarket

pytestmark = pytest.mark.unmeasured

STEPS = st.lists(
    st.sampled_from(["move", "move", "move", "drop", "corrupt", "repeat", "invalid", "epoch", "disconnect", "wait"]),
    max_size=40,
)


class Run:
    """A session and its gateway; after each delivery the book is judged."""

    def __init__(self, seed: int, encoding: Encoding, together: int) -> None:
        self.now = 1000.0
        self.together = together
        self.market = ReferenceMarket(seed)
        self.gateway = FakeGateway(self.market, encoding)
        self.session = Session(encoding=encoding, clock=lambda: self.now)
        self.session.subscribe(Request("book", ("kraken",), ("*-USD",), {"checksum": True}))
        self.connect()

    def connect(self) -> None:
        self.session.opened(self.now)
        self.gateway.hello()
        self.exchange()

    def exchange(self) -> None:
        while True:
            for data in self.session.data_to_send():
                self.gateway.take(data)
            frames = list(self.gateway.frames(self.together))
            if not frames:
                return
            for frame in frames:
                self.session.receive(frame)
                self.judge()

    def judge(self) -> None:
        book = self.session.book("book", "kraken", "BTC-USD")
        if book is not None and book.in_step:
            assert (book.bids, book.asks) == self.market.history[book.epoch, book.sequence]

    def step(self, step: str) -> None:
        getattr(self, step)()
        self.exchange()
        self.judge()

    def move(self) -> None:
        self.market.move()
        self.gateway.moved()

    def drop(self) -> None:
        self.move()
        self.gateway.sent.clear()

    def corrupt(self) -> None:
        self.move()
        for message in self.gateway.sent:
            message["checksum"] ^= 1

    def repeat(self) -> None:
        self.move()
        self.gateway.sent += self.gateway.sent

    def invalid(self) -> None:
        if self.gateway.subscribed:
            self.gateway.snapshot("invalid")
            self.gateway.snapshot()

    def epoch(self) -> None:
        self.market.restart()
        if self.gateway.subscribed:
            self.gateway.snapshot()

    def disconnect(self) -> None:
        self.session.closed()
        self.gateway.subscribed = False
        self.gateway.sent.clear()
        self.market.move()
        self.connect()

    def wait(self) -> None:
        self.now += AGAIN_AFTER
        self.gateway.now += round(AGAIN_AFTER * 1e6)
        self.session.tick()


@given(st.integers(0, 2**16), st.sampled_from(["json", "msgpack"]), st.integers(1, 4), STEPS)
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_book_in_step_is_the_true_one(seed: int, encoding: Encoding, together: int, steps: list[str]) -> None:
    run = Run(seed, encoding, together)
    for step in steps:
        run.step(step)
    run.step("wait")
    run.step("move")
    run.step("wait")
    book = run.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert book.in_step
    assert (book.epoch, book.sequence) == (str(run.market.epoch), run.market.sequence)


class TradesGateway:
    """Sends numbered trades; recovers up to ten."""

    KRAKEN = {"venue": "kraken", "symbol": "BTC-USD"}  # noqa: RUF012 a constant

    def __init__(self, session: Session) -> None:
        self.session = session
        self.last = 0
        self.connected = False
        self.events: list[Event] = []

    def _say(self, **fields: Any) -> None:
        self.events += self.session.receive(msgspec.json.encode(fields).decode())

    def _trades(self, kind: str, first: int, **fields: Any) -> None:
        trades = [
            {"id": str(n), "side": "buy", "price": "1", "size": "1", "time": n, "received_time": n}
            for n in range(max(1, first), self.last + 1)
        ]
        if trades or kind == "snapshot":
            self._say(type=kind, channel="trades", trades=trades, **self.KRAKEN, **fields)

    def connect(self) -> None:
        self.session.opened(0.0)
        self._say(type="hello", version=2, gateway="g", time=1, heartbeat_ms=5000, max_book_age_ms=5000, access="open")
        (asked,) = map(msgspec.json.decode, self.session.data_to_send())
        since = int(asked["since"][0]["trade_id"]) if "since" in asked else None
        recovered = None if since is None else self.last - since <= 10
        self._say(type="subscribed", id=asked["id"], channel="trades", feeds=[self.KRAKEN | {"recovered": recovered}])
        if since is not None and recovered:
            self._trades("trades", since + 1)
        else:
            self._trades("snapshot", self.last - 4)
        self.connected = True

    def trade(self, count: int) -> None:
        for _ in range(count):
            self.last += 1
            if self.connected:
                self._trades("trades", self.last)

    def slow(self, count: int) -> None:
        """The client reads too slowly: its queue is dropped."""
        self.last += count
        if self.connected:
            self._trades("snapshot", self.last - 4, gap=True)

    def disconnect(self, _: int) -> None:
        self.session.closed()
        self.connected = False

    def reconnect(self, _: int) -> None:
        if not self.connected:
            self.connect()


@given(st.lists(st.tuples(st.sampled_from(["trade", "slow", "disconnect", "reconnect"]), st.integers(1, 8))))
def test_trades_come_once_and_in_order_or_a_gap_is_told(steps: list[tuple[str, int]]) -> None:
    session = Session(clock=lambda: 0.0)
    session.subscribe(Request("trades", ("kraken",), ("BTC-USD",)))
    gateway = TradesGateway(session)
    gateway.connect()
    for step, count in steps:
        getattr(gateway, step)(count)
    gateway.reconnect(1)
    expected = None
    for event in gateway.events:
        if not isinstance(event, Delivered):
            continue
        message = event.message
        if isinstance(message, Gap):
            expected = None
        elif isinstance(message, (Trades, TradesSnapshot)):
            for trade in message.trades:
                assert expected is None or int(trade.id) == expected
                expected = int(trade.id) + 1
    assert expected is None or expected == gateway.last + 1
