"""Whatever the books do, however slowly a client reads: once it has read everything, it holds the gateway's books.

And whichever gateway tells it, restarted or not: the numbers of the books are the same from all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fanout import EXPIRY_SPACING, Hub
from gateway.session import Session
from gateway.state import MarketState
from schemas.records import Depth
from tests.fixtures import market
from tests.fixtures.examples import examples
from tests.fixtures.market import MAX_BOOK_AGE, SECOND, START
from tests.fixtures.stream import ClientBook, ClogableWire, ManualScheduler, sides_of

SYMBOLS = ("BTC-USD", "ETH-USD")


@dataclass(frozen=True)
class Publish:
    """A step: a book as the processors publish it."""

    symbol: str
    bids: dict[int, int]
    asks: dict[int, int]
    valid: bool
    new_epoch: bool
    finer: bool
    ahead: int
    """How far the book's sequence has come since the last; the processors conflate."""
    delay: float
    """Seconds between the collector's receipt and now."""


@dataclass(frozen=True)
class Confirm:
    """A step: the same book again, heard of later."""

    symbol: str


@dataclass(frozen=True)
class Pass:
    """A step: time passes."""

    seconds: float


@dataclass(frozen=True)
class Do:
    """A step of the slow client."""

    what: str
    symbol: str


def rarely(one_in: int) -> st.SearchStrategy[bool]:
    return st.integers(0, one_in - 1).map(lambda n: n == one_in - 1)


levels = st.dictionaries(st.integers(1, 30), st.integers(1, 5), max_size=12)
symbols = st.sampled_from(SYMBOLS)
publications = st.builds(
    Publish,
    symbol=symbols,
    bids=levels,
    asks=levels,
    valid=rarely(10).map(lambda n: not n),
    new_epoch=rarely(10),
    finer=rarely(20),
    ahead=st.integers(1, 400),
    delay=st.sampled_from([0.0, 0.0, 0.0, 0.3, 4.0, 6.0]),
)
changes = st.one_of(publications, publications, st.builds(Confirm, symbols), st.builds(Pass, st.floats(0, 3)))
steps = st.lists(
    st.one_of(
        changes,
        st.builds(Do, st.sampled_from(["clog", "unclog", "subscribe", "unsubscribe", "ping", "tick"]), symbols),
    ),
    max_size=60,
)


class Books:
    """What the processors publish."""

    def __init__(self) -> None:
        self.records: list[Depth] = []
        self.latest: dict[str, Depth] = {}

    def publish(self, step: Publish, now: int) -> Depth:
        """Return the next Depth of a book."""
        last = self.latest.get(step.symbol)
        epoch, sequence, exponent, heard = START, 0, -2, 0
        if last is not None:
            epoch, sequence, exponent, heard = last.epoch, last.sequence, last.price_exponent, last.received_time
        if step.new_epoch or step.finer:
            epoch, sequence, exponent = epoch + 1, 0, exponent - step.finer
        depth = market.depth(
            bids=sorted(step.bids.items(), reverse=True) if step.valid else [],
            asks=sorted(step.asks.items()) if step.valid else [],
            sequence=sequence + step.ahead,
            symbol=step.symbol,
            epoch=epoch,
            price_exponent=exponent,
            valid=step.valid,
            received_time=max(heard, now - round(step.delay * SECOND)),
        )
        return self._published(depth)

    def confirm(self, step: Confirm, now: int) -> Depth | None:
        """Return the last Depth again, with the time of now."""
        last = self.latest.get(step.symbol)
        if last is None or not last.valid or last.received_time >= now:
            return None
        return self._published(Depth(**last.__dict__ | {"received_time": now}))

    def _published(self, depth: Depth) -> Depth:
        self.records.append(depth)
        self.latest[depth.symbol] = depth
        return depth


class Gateway:
    """A hub with its state."""

    def __init__(self, schedule: ManualScheduler, queue_bytes: int) -> None:
        self.state = MarketState({"kraken": SYMBOLS}, max_book_age=MAX_BOOK_AGE)
        self.hub = Hub(self.state, queue_bytes=queue_bytes, schedule=schedule, clock=schedule.clock)

    def depths(self) -> Iterator[tuple[Depth, str | None]]:
        for instrument in self.state.instruments():
            if instrument.depth is not None:
                yield instrument.depth, instrument.fault


class Client:
    """One that follows the rules; its book fails the test if the gateway breaks them."""

    def __init__(self, hub: Hub) -> None:
        self.wire = ClogableWire()
        self.hub = hub
        self.session: Session = hub.open(self.wire)
        self.books: dict[str, ClientBook] = {}
        self.wanted: set[str] = set()
        self.following: set[str] = set()
        """Those whose ``subscribed`` has been read, and no ``unsubscribed`` since."""

    def say(self, op: str, symbol: str) -> None:
        fields = "" if op == "ping" else f',"channel":"book","venue":"kraken","symbol":"{symbol}"'
        self.session.receive(f'{{"op":"{op}","id":1{fields}}}')
        if op == "subscribe":
            self.wanted.add(symbol)
        elif op == "unsubscribe":
            self.wanted.discard(symbol)

    def read(self) -> None:
        for message in self.wire.read():
            if message["type"] in ("subscribed", "unsubscribed"):
                (self.following.add if message["type"] == "subscribed" else self.following.discard)(message["symbol"])
            elif message.get("channel") == "book" and "bids" in message:
                assert message["symbol"] in self.following, (
                    "nothing of a book before it is subscribed or after it is left"
                )
                self.books.setdefault(message["symbol"], ClientBook()).apply(message)
            else:
                assert message["type"] in ("hello", "pong")

    def check(self, gateway: Gateway) -> None:
        """Fail unless every book it follows is the gateway's, and good or not by the freshness rule."""
        for depth, fault in gateway.depths():
            if depth.symbol in self.wanted:
                book = self.books[depth.symbol]
                assert book.equals(depth, stale=fault == "stale")
                assert book.reason == fault


def run(step: Any, schedule: ManualScheduler, books: Books, gateways: list[Gateway]) -> None:
    """Do a step of the market's."""
    depth: Depth | None = None
    match step:
        case Publish():
            depth = books.publish(step, schedule.clock())
        case Confirm():
            depth = books.confirm(step, schedule.clock())
        case Pass(seconds):
            schedule.advance(seconds)
    if depth is not None:
        for gateway in gateways:
            assert gateway.hub.apply(depth, schedule.clock())


@given(steps=steps, queue_bytes=st.sampled_from([1024, 1500, 4000, 1_000_000]))
@settings(max_examples=examples(300), deadline=None)
def test_a_client_that_has_read_everything_holds_the_gateways_books(steps: list[Any], queue_bytes: int) -> None:
    schedule, books = ManualScheduler(), Books()
    gateway = Gateway(schedule, queue_bytes)
    slow, prompt = Client(gateway.hub), Client(gateway.hub)
    for symbol in SYMBOLS:
        prompt.say("subscribe", symbol)
    for step in steps:
        match step:
            case Do("clog"):
                slow.wire.clogged = True
            case Do("unclog"):
                slow.wire.clogged = False
                gateway.hub.waiting(slow.session)
            case Do("tick"):
                schedule.run()
                slow.read()
                prompt.read()
                prompt.check(gateway)
            case Do(op, symbol):
                slow.say(op, symbol)
            case _:
                run(step, schedule, books, [gateway])
    slow.wire.clogged = False
    gateway.hub.waiting(slow.session)
    for seconds in (0.0, 1.0, MAX_BOOK_AGE / SECOND + EXPIRY_SPACING):
        schedule.advance(seconds)
        schedule.run()
        for client in (slow, prompt):
            client.read()
            if client.wire.closed_with is not None:  # too many unread answers for the smallest queues
                assert client is slow
                continue
            client.check(gateway)
    assert all(fault is not None for _, fault in gateway.depths()), "nobody has confirmed them for so long"


class Roamer:
    """A client that hears one gateway after the other, and takes from each what the rule of the stream lets it take."""

    def __init__(self, schedule: ManualScheduler, books: Books) -> None:
        self.heard = 0
        self._schedule = schedule
        self._market = books
        self._books = {symbol: ClientBook() for symbol in SYMBOLS}
        self.gateways = [Gateway(schedule, 1_000_000), Gateway(schedule, 1_000_000)]
        self._clients = [self._client(gateway) for gateway in self.gateways]

    @staticmethod
    def _client(gateway: Gateway) -> Client:
        client = Client(gateway.hub)
        for symbol in SYMBOLS:
            client.say("subscribe", symbol)
        return client

    def restart_gateway(self) -> None:
        """Let the gateway that is heard begin anew, from the end of its topic."""
        gateway = self.gateways[self.heard] = Gateway(self._schedule, 1_000_000)
        for depth in self._market.records[-20:]:
            gateway.hub.apply(depth, self._schedule.clock())
        self._clients[self.heard] = self._client(gateway)

    def read(self) -> None:
        """Take what the gateway says that is heard; fail if the book is not what it was at that number."""
        messages = [client.wire.read() for client in self._clients][self.heard]
        truth = {
            (each.symbol, str(each.epoch), each.sequence): sides_of(each) for each in self._market.records if each.valid
        }
        for message in messages:
            if message.get("channel") != "book" or "bids" not in message:
                continue
            book = self._books[message["symbol"]]
            if book.follows(message):
                book.apply(message)
                if book.valid:
                    assert (book.bids, book.asks) == truth[message["symbol"], book.epoch, book.sequence or 0]


@given(steps=st.lists(st.one_of(changes, st.sampled_from(["turn", "restart"])), max_size=60))
@settings(max_examples=examples(300), deadline=None)
def test_what_any_gateway_tells_of_a_book_fits_what_another_has_told(steps: list[Any]) -> None:
    """A client that turns to another gateway, or the same after a restart, without asking for a snapshot."""
    schedule, books = ManualScheduler(), Books()
    roamer = Roamer(schedule, books)
    for step in steps:
        match step:
            case "turn":
                roamer.heard = 1 - roamer.heard
            case "restart":
                roamer.restart_gateway()
            case _:
                run(step, schedule, books, roamer.gateways)
        schedule.run()
        roamer.read()
