"""Where records come from: a recording, or a simulated market whose frames go through the collector's protocols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from alphapulse.config import VenueSettings
from producers.feed.actions import FetchSnapshot, Send
from producers.registry import load
from producers.replay.recording import survey
from producers.simulator.feed import Topic
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from producers.simulator.server import feed_of
from producers.venue_server.dialects import dialect
from producers.venue_server.session import SessionAnswer
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun, lines

START_NS = 1_700_000_000 * 10**9


def recorded(path: Path) -> Iterator[L2Update | Trade]:
    """Yield the records of a recording.

    Raises:
        RecordingError: it cannot be read, or holds no market data.
    """
    found = survey(path)
    run = ProtocolRun(load(found.venue).protocol(_settings(found.venue, found.symbols.values(), found.depth)))
    for time_ns, frame in lines(path):
        run.frame(time_ns, frame)
        yield from run.records
        run.records.clear()


class SimulatedRun:
    """A simulated market, its venues' frames, and collectors' protocols that read them, in the market's own time.

    Args:
        symbols: what is traded, by venue.
        seed, rate: as of ``alphapulse simulate``.
    """

    def __init__(self, symbols: Mapping[str, Sequence[str]], *, seed: int, rate: float) -> None:
        listings = [listing for venue, traded in symbols.items() for listing in make_listings([venue], traded)]
        self.market = Market(listings, seed=seed, rate=rate, start_ns=START_NS)
        self.venues = {venue: SimulatedVenueRun(venue, traded, self.market) for venue, traded in symbols.items()}

    def records(self, seconds: float) -> Iterator[L2Update | Trade]:
        """Yield the records of the market's first ``seconds``."""
        for venue in self.venues.values():
            venue.connect(START_NS)
        for event in self.market.advance(START_NS + int(seconds * 1e9)):
            venue = self.venues[event.listing.venue]
            for _, frame in venue.feed.frames(event, venue.active):
                venue.deliver(frame, event.time_ns)
            yield from venue.run.records
            venue.run.records.clear()


class SimulatedVenueRun:
    """A simulated venue and the collector's protocol, with nothing in between."""

    def __init__(self, name: str, symbols: Sequence[str], market: Market) -> None:
        protocol = load(name).protocol(_settings(name, symbols))
        self.run = ProtocolRun(protocol)
        self.feed = feed_of(name)([market.instruments[name, symbol] for symbol in symbols])
        self.active: dict[Topic, None] = {}
        self._session = dialect(name).session(self.feed.instruments)

    def connect(self, time_ns: int) -> None:
        """Subscribe to everything."""
        for greeting in self._session.greeting(time_ns):
            self.deliver(greeting, time_ns)
        address = urlsplit(self.run.protocol.path())
        path = dialect(self.run.protocol.venue).path
        self._answered(self._session.opened(address.path or path, dict(parse_qsl(address.query))), time_ns)
        for send in self.run.protocol.subscribe():
            self._answered(self._session.received(send.text.encode(), time_ns), time_ns)
        self._act(time_ns)

    def deliver(self, frame: bytes, time_ns: int) -> None:
        """Hand a frame to the protocol and do what it asks for."""
        self.run.frame(time_ns, self._session.outgoing(frame))
        if self.run.commands:
            self._act(time_ns)

    def _answered(self, answer: SessionAnswer, time_ns: int) -> None:
        for reply in answer.replies:
            self.deliver(reply, time_ns)
        for new in answer.added:
            for frame in self.feed.opening(new, time_ns):
                self.deliver(frame, time_ns)
            self.active[self.feed.topic(new)] = None

    def _act(self, time_ns: int) -> None:
        commands, self.run.commands = self.run.commands, []
        for command in commands:
            match command:
                case FetchSnapshot():
                    address = urlsplit(command.path)
                    reply = self.feed.rest(address.path, dict(parse_qsl(address.query)), time_ns)
                    assert reply is not None, command.path
                    self.run.wanted.pop(command.symbol, None)
                    self.run.take(self.run.protocol.snapshot(command, reply.body, time_ns))
                case Send():
                    self._answered(self._session.received(command.text.encode(), time_ns), time_ns)
                case _:
                    raise AssertionError(f"a market without faults makes the collector ask for {command}")


def _settings(venue: str, symbols: Iterable[str], depth: int | None = None) -> VenueSettings:
    key = dialect(venue).key
    return VenueSettings(symbols=tuple(symbols), depth=depth, key=key, secret=key)
