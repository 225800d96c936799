"""Whatever the books do, however slowly a client reads: once it has read everything, it holds the gateway's books."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fanout import Hub
from gateway.session import Session
from gateway.state import MarketState
from schemas.records import Depth
from tests.fixtures import market
from tests.fixtures.market import START
from tests.fixtures.stream import ClientBook, ClogableWire, Tick

SYMBOLS = ("BTC-USD", "ETH-USD")

levels = st.dictionaries(st.integers(1, 30), st.integers(1, 5), max_size=12)
books = st.builds(
    lambda symbol, bids, asks, valid, epoch, finer: (symbol, bids, asks, valid, epoch, finer),
    st.sampled_from(SYMBOLS),
    levels,
    levels,
    st.integers(0, 9).map(lambda n: n > 0),
    st.integers(0, 9).map(lambda n: n == 0),
    st.integers(0, 19).map(lambda n: n == 0),
)
client_steps = st.tuples(
    st.sampled_from(["clog", "unclog", "subscribe", "unsubscribe", "ping", "tick"]), st.sampled_from(SYMBOLS)
)
steps = st.lists(st.one_of(books, client_steps), max_size=60)


class World:
    """One gateway, one client that follows the rules and reads when it likes, one that always reads."""

    def __init__(self, queue_bytes: int) -> None:
        self.tick = Tick()
        self.state = MarketState({"kraken": SYMBOLS})
        self.hub = Hub(self.state, queue_bytes=queue_bytes, schedule=self.tick, clock=lambda: 0.0)
        self.clients = [Client(self.hub), Client(self.hub)]
        self._sequence = dict.fromkeys(SYMBOLS, 0)
        self._epoch = dict.fromkeys(SYMBOLS, START)
        self._exponent = dict.fromkeys(SYMBOLS, -2)

    def publish(self, book: tuple[str, dict[int, int], dict[int, int], bool, bool, bool]) -> None:
        symbol, bids, asks, valid, new_epoch, finer = book
        self._sequence[symbol] += 1
        if new_epoch or finer:
            self._epoch[symbol] += 1
            self._exponent[symbol] -= finer
        depth = market.depth(
            bids=sorted(bids.items(), reverse=True) if valid else [],
            asks=sorted(asks.items()) if valid else [],
            sequence=self._sequence[symbol],
            symbol=symbol,
            epoch=self._epoch[symbol],
            price_exponent=self._exponent[symbol],
            valid=valid,
        )
        assert self.hub.apply(depth, START)

    def latest(self) -> Iterator[Depth]:
        for instrument in self.state.instruments():
            if instrument.depth is not None:
                yield instrument.depth


class Client:
    def __init__(self, hub: Hub) -> None:
        self.wire = ClogableWire()
        self.hub = hub
        self.session: Session = hub.open(self.wire)
        self.books: dict[str, ClientBook] = {}
        self.wanted: set[str] = set()

    def say(self, op: str, symbol: str) -> None:
        fields = "" if op == "ping" else f',"channel":"book","venue":"kraken","symbol":"{symbol}"'
        self.session.receive(f'{{"op":"{op}","id":1{fields}}}')
        if op == "subscribe":
            self.wanted.add(symbol)
        elif op == "unsubscribe":
            self.wanted.discard(symbol)

    def read(self) -> None:
        for message in self.wire.read():
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("channel") == "book" and "bids" in message:
            self.books.setdefault(message["symbol"], ClientBook()).apply(message)
        else:
            assert message["type"] in ("hello", "subscribed", "unsubscribed", "pong")


@given(steps=steps, queue_bytes=st.sampled_from([1024, 1500, 4000, 1_000_000]))
@settings(max_examples=300, deadline=None)
def test_a_client_that_has_read_everything_holds_the_gateways_books(steps: list[Any], queue_bytes: int) -> None:
    world = World(queue_bytes)
    slow, prompt = world.clients
    for symbol in SYMBOLS:
        prompt.say("subscribe", symbol)
    for step in steps:
        match step:
            case ("clog", _):
                slow.wire.clogged = True
            case ("unclog", _):
                slow.wire.clogged = False
                world.hub.waiting(slow.session)
            case ("tick", _):
                world.tick.run()
                slow.read()
                prompt.read()
            case (op, symbol):
                slow.say(op, symbol)
            case _:
                world.publish(step)
    slow.wire.clogged = False
    world.hub.waiting(slow.session)
    world.tick.run()
    for client in world.clients:
        client.read()
        if client.wire.closed_with is not None:  # too many unread answers for the smallest queues
            assert client is slow
            continue
        for depth in world.latest():
            if depth.symbol in client.wanted:
                assert client.books[depth.symbol].equals(depth)
