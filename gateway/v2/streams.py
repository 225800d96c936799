"""All feeds of protocol version 2: takes the hub's records, finds feeds for clients.

Feeds exist while they have subscribers; the histories of books and trades are kept for every instrument, so that
clients can continue after a restart of the gateway.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

from alphapulse import logs, topics
from alphapulse.errors import UnknownInstrument
from gateway.close_codes import INTERNAL, CloseCode
from gateway.fanout import Hub
from gateway.state import MarketState, ShownInstrument
from gateway.v2.alerts import ALERTS_KEPT, AlertsFeed, is_alert
from gateway.v2.books import BboFeed, BookFeed, DepthHistory
from gateway.v2.encoding import Form
from gateway.v2.feed import Feed, Variant
from gateway.v2.l2_books import L2Books, L2Change
from gateway.v2.l2_feed import L2Feed
from gateway.v2.latest import ArbitrageFeed, CandlesFeed, StatsFeed
from gateway.v2.options import FeedId, Options
from gateway.v2.pace import Pacer
from gateway.v2.selection import FeedKey, Names, Selection
from gateway.v2.status import ServiceCondition, StatusFeed, service_conditions, venue_conditions
from gateway.v2.trades import TradeHistory, TradesFeed
from schemas.codec import Codec
from schemas.records import ArbitrageOpportunity, Candle, DeadLetter, DeltaStatistics, Depth, Event, Record, Trade

INSTRUMENT_CHANNELS: Final = ("book", "bbo", "l2", "trades", "candles", "stats")
_NAMES_LISTED: Final = 30


class Watcher(Protocol):
    """A client with patterns."""

    def appeared(self, keys: Iterable[FeedKey]) -> None:
        """Subscribe to those of the new feeds that match."""
        ...

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
        ...


class Waiter(Protocol):
    """A client with a position in a book that is not loaded yet."""

    def loaded(self, key: FeedKey) -> None:
        """Subscribe to the feed: its book is loaded now."""
        ...

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
        ...


class Streams:
    """Feeds by key and options.

    Args:
        codec: decodes the histories.

    Attributes:
        gateway_id: random id of this process.
        watchers: clients with patterns.
        services: returns the condition of each service; replaced by what polls them.
        l2: whole books; :class:`gateway.v2.l2_reader.L2Reader` fills them.
    """

    def __init__(self, hub: Hub, state: MarketState, codec: Codec) -> None:
        self.gateway_id: Final = secrets.token_hex(8)
        self.watchers: dict[Watcher, None] = {}
        self.services: Callable[[], Mapping[str, ServiceCondition]] = dict
        self._hub = hub
        self._log = logs.get("gateway.stream")
        self._state = state
        self._codec = codec
        self._pacer = Pacer(hub.schedule, self._now)
        self._feeds: dict[FeedKey, dict[FeedId, Feed]] = {}
        self._depths: dict[tuple[str, str], DepthHistory] = {}
        self._trades: dict[tuple[str, str], TradeHistory] = {}
        self._alerts: dict[str | None, deque[Event]] = {}
        self._waiters: dict[FeedKey, dict[Waiter, None]] = {}
        self._known = {(each.venue, each.symbol) for each in state.instruments()}
        self._venues = set(state.venues)
        self._symbols = {symbol for _, symbol in self._known}
        self.l2 = L2Books(codec, state.max_book_age, self._l2_changed)
        hub.listeners.append(self)

    # --- records in -------------------------------------------------------------------------------------------

    def taken(self, record: Record, value: bytes) -> None:
        """Publish a record that the state has just applied."""
        if isinstance(record, (Depth, Trade, DeltaStatistics, Candle)):
            self._take_instruments(record, value)
        else:
            self._take_other(record)

    def _take_instruments(self, record: Depth | Trade | DeltaStatistics | Candle, value: bytes) -> None:
        venue, symbol = record.venue, record.symbol
        if isinstance(record, Depth):
            self._depth_history(venue, symbol).add(record, value)
        elif isinstance(record, Trade):
            self._trade_history(venue, symbol).add(record, value)
        for channel in _CHANNELS_OF[type(record)]:
            # For each record: a plain tuple is as good a key, and made in a tenth of the time.
            feeds = self._feeds.get((channel, venue, symbol))  # type: ignore[call-overload]
            if feeds is not None:
                for feed in feeds.values():
                    feed.take(record)
        # Last: whoever subscribes to a new instrument gets the record in the snapshot.
        if (venue, symbol) not in self._known:
            self._notice(venue, symbol)

    def _take_other(self, record: Record) -> None:
        if isinstance(record, Event) and is_alert(record):
            self._alerts_of(record.venue).append(record)
        for key in _concerned(record):
            for feed in self._of(key):
                feed.take(record)
        if isinstance(record, Event) and record.venue is not None:
            self._notice_venue(record.venue)

    def _alerts_of(self, venue: str | None) -> deque[Event]:
        return self._alerts.setdefault(venue, deque(maxlen=ALERTS_KEPT))

    def lost(self, topic: str) -> None:
        """Publish that records of ``topic`` are missing. Books tell it themselves, by their sequence."""
        if topic != topics.TRADES:
            return
        for history in self._trades.values():
            history.clear()
        for key, feeds in self._feeds.items():
            if key.channel == "trades":
                for feed in feeds.values():
                    feed.tell_gap()

    def judged(self, instrument: ShownInstrument) -> None:
        """Publish that a book became stale without a record."""
        for channel in ("book", "bbo"):
            self._retell(FeedKey(channel, instrument.venue, instrument.symbol))

    def opportunities_changed(self, symbol: str) -> None:
        """Publish the open opportunities of a symbol anew."""
        self._retell(FeedKey("arbitrage", None, symbol))

    def _retell(self, key: FeedKey) -> None:
        for feed in self._of(key):
            feed.retell()

    def check(self, now_ns: int) -> None:
        """Look at venues, services and whole books; called about once a second."""
        self.l2.expire(now_ns)
        for venue in self._state.venues:
            self._notice_venue(venue)
        for feeds in [feeds for key, feeds in self._feeds.items() if key.channel == "status"]:
            for feed in feeds.values():
                if isinstance(feed, StatusFeed):
                    feed.look(now_ns)

    def _l2_changed(self, instrument: tuple[str, str], change: L2Change) -> None:
        key = FeedKey("l2", *instrument)
        for feed in self._of(key):
            feed.take(change)
        if self._waiters and self.l2.book(*instrument).loaded:
            for waiter in self._waiters.pop(key, ()):
                self._guarded(waiter, lambda waiter=waiter: waiter.loaded(key))  # type: ignore[misc]

    def audience(self, record: Record) -> int:
        """Return how many subscriptions concern ``record``."""
        return sum(feed.audience for key in _concerned(record) for feed in self._of(key))

    def _of(self, key: FeedKey) -> Iterator[Feed]:
        feeds = self._feeds.get(key)
        return iter(()) if feeds is None else iter(feeds.values())

    def _depth_history(self, venue: str, symbol: str) -> DepthHistory:
        history = self._depths.get((venue, symbol))
        if history is None:
            history = self._depths[venue, symbol] = DepthHistory(self._codec)
        return history

    def _trade_history(self, venue: str, symbol: str) -> TradeHistory:
        history = self._trades.get((venue, symbol))
        if history is None:
            history = self._trades[venue, symbol] = TradeHistory(self._codec)
        return history

    # --- what there is ----------------------------------------------------------------------------------------

    def _notice(self, venue: str, symbol: str) -> None:
        self._known.add((venue, symbol))
        self._notice_venue(venue)
        keys = [FeedKey(channel, venue, symbol) for channel in INSTRUMENT_CHANNELS]
        if symbol not in self._symbols:
            self._symbols.add(symbol)
            keys.append(FeedKey("arbitrage", None, symbol))
        self._announce(keys)

    def _notice_venue(self, venue: str) -> None:
        if venue not in self._venues:
            self._venues.add(venue)
            self._announce([FeedKey("alerts", venue, None), FeedKey("status", venue, None)])

    def _announce(self, keys: Iterable[FeedKey]) -> None:
        for watcher in list(self.watchers):
            self._guarded(watcher, lambda watcher=watcher: watcher.appeared(keys))  # type: ignore[misc]

    def _guarded(self, client: Watcher | Waiter, call: Callable[[], None]) -> None:
        """Call one client's code; its failure ends that client, not the reader of the topics behind all of them."""
        try:
            call()
        except Exception:  # noqa: BLE001
            self._log.exception("a client was disconnected")
            client.close(INTERNAL)

    def match(self, selection: Selection, may: Callable[[str | None], bool]) -> list[FeedKey]:
        """Return the known feeds of a selection; books that have become stale are published first.

        Args:
            may: whether the client may see a venue (None: what belongs to none); others are left out, also of errors.

        Raises:
            UnknownInstrument: a name without wildcard is not known, or matches nothing among the venues selected.
        """
        # Not later: between a snapshot and the answer that goes before it nothing else may be queued.
        self._hub.expire()
        if selection.channel == "l2":
            self.l2.expire(self._now())
        self._check(selection, may)
        permitted = {venue: may(venue) for venue in (*self._venues, None)}
        return [key for key in self._all(selection) if permitted[key.venue]]

    def _all(self, selection: Selection) -> Iterator[FeedKey]:
        """Yield the known feeds that match: each name is tried once, not once for each feed."""
        channel, venues, symbols = selection.channel, selection.venues, selection.symbols
        if channel == "arbitrage":
            matched = sorted(symbol for symbol in self._symbols if symbols is None or symbols.match(symbol))
            return (FeedKey(channel, None, symbol) for symbol in matched)
        at = self._matching_venues(venues)
        if symbols is None:
            without = [None] if venues is None or venues.everything else []
            return (FeedKey(channel, venue, None) for venue in (*sorted(at), *without))
        if venues is not None and not venues.open_ended and not symbols.open_ended:
            named = ((venue, symbol) for venue in venues.exact for symbol in symbols.exact)
            return (FeedKey(channel, venue, symbol) for venue, symbol in named if (venue, symbol) in self._known)
        wanted = {symbol for symbol in self._symbols if symbols.match(symbol)}
        return (
            FeedKey(channel, venue, symbol) for venue, symbol in sorted(self._known) if venue in at and symbol in wanted
        )

    def _matching_venues(self, venues: Names | None) -> set[str]:
        return {venue for venue in self._venues if venues is None or venues.match(venue)}

    def _check(self, selection: Selection, may: Callable[[str | None], bool]) -> None:
        venues, symbols = selection.venues, selection.symbols
        for venue in venues.exact if venues is not None else ():
            if venue not in self._venues:
                seen = [each for each in self._venues if may(each)]
                raise UnknownInstrument(f"unknown venue {venue[:80]!r}; known: {_listed(seen)}")
        if symbols is None or not symbols.exact:
            return
        at = {venue for venue in self._matching_venues(venues) if venues is None or may(venue)}
        known = self._symbols if venues is None else {symbol for venue, symbol in self._known if venue in at}
        for symbol in symbols.exact:
            if symbol not in known:
                where = "" if venues is None else f" of {', '.join(venues.texts)[:80]}"
                raise UnknownInstrument(f"unknown symbol {symbol[:80]!r}{where}; known: {_listed(known)}")

    @property
    def services_wanted(self) -> bool:
        """Whether somebody is subscribed to the status of services."""
        return FeedKey("status", None, None) in self._feeds

    def _now(self) -> int:
        return self._hub.clock()

    def _services(self) -> Mapping[str, ServiceCondition]:
        return self.services()

    # --- feeds ------------------------------------------------------------------------------------------------

    def variant(self, key: FeedKey, options: Options, form: Form) -> Variant:
        """Return the feed for a subscriber; it exists until its last one has left."""
        feed_id = FeedId(key, options.levels, options.interval_ms, options.candle_interval)
        feeds = self._feeds.setdefault(key, {})
        feed = feeds.get(feed_id)
        if feed is None:
            feed = feeds[feed_id] = self._make(feed_id)
            if key.channel == "l2":
                self.l2.want(key.venue or "", key.symbol or "")
        return feed.variant(form)

    def await_book(self, key: FeedKey, waiter: Waiter) -> bool:
        """Begin to read a whole book and tell ``waiter`` when it is loaded; False: nothing has to be waited for."""
        instrument = (key.venue or "", key.symbol or "")
        if key.channel != "l2" or self.l2.book(*instrument).loaded:
            return False
        self._waiters.setdefault(key, {})[waiter] = None
        self.l2.on_wanted(instrument)
        return True

    def stop_waiting(self, key: FeedKey, waiter: Waiter) -> None:
        """End the wait for a book."""
        waiters = self._waiters.get(key, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiters.pop(key, None)

    def leave(self, key: FeedKey, options: Options) -> None:
        """Drop the feed if it has no subscriber left."""
        feed_id = FeedId(key, options.levels, options.interval_ms, options.candle_interval)
        feeds = self._feeds.get(key, {})
        feed = feeds.get(feed_id)
        if feed is not None and not feed.audience:
            del feeds[feed_id]
            if key.channel == "l2":
                self.l2.unwant(key.venue or "", key.symbol or "")
            if not feeds:
                del self._feeds[key]

    def fresh(self, key: FeedKey, options: Options) -> Feed:
        """Return a feed without subscribers, for a snapshot on demand; a whole book is read from then on."""
        if key.channel == "l2":
            self.l2.on_wanted((key.venue or "", key.symbol or ""))
        return self._make(FeedId(key, options.levels, options.interval_ms, options.candle_interval))

    def _make(self, feed_id: FeedId) -> Feed:
        key, levels, interval_ms, candle_interval = feed_id
        state, pacer = self._state, self._pacer
        venue, symbol = key.venue or "", key.symbol or ""
        match key.channel:
            case "book":
                history = self._depth_history(venue, symbol)
                return BookFeed(state.instrument(venue, symbol), history, pacer, interval_ms, levels)
            case "bbo":
                return BboFeed(state.instrument(venue, symbol), self._depth_history(venue, symbol), pacer, interval_ms)
            case "l2":
                return L2Feed(self.l2.book(venue, symbol), pacer, interval_ms)
            case "trades":
                history_of_trades = self._trade_history(venue, symbol)
                return TradesFeed(state.instrument(venue, symbol), history_of_trades, pacer, interval_ms)
            case "stats":
                return StatsFeed(state.instrument(venue, symbol), pacer, interval_ms)
            case "candles":
                return CandlesFeed(state.instrument(venue, symbol), pacer, candle_interval)
            case "arbitrage":
                return ArbitrageFeed(state, symbol, pacer)
            case "alerts":
                return AlertsFeed(key.venue, self._alerts_of(key.venue), pacer)
            case "status":
                conditions = (
                    service_conditions(self._services) if key.venue is None else venue_conditions(state, key.venue)
                )
                return StatusFeed(conditions, self._now, pacer)
            case _:
                raise AssertionError(key)


_CHANNELS_OF: Final[Mapping[type[Record], tuple[str, ...]]] = {
    Depth: ("book", "bbo"),
    Trade: ("trades",),
    DeltaStatistics: ("stats",),
    Candle: ("candles",),
}


def _concerned(record: Record) -> list[FeedKey]:
    """Return the feeds that get a record."""
    if isinstance(record, ArbitrageOpportunity):
        return [FeedKey("arbitrage", None, record.symbol)]
    if isinstance(record, Event):
        return [FeedKey("alerts", record.venue, None)] if is_alert(record) else []
    channels = _CHANNELS_OF.get(type(record))
    if channels is None or isinstance(record, DeadLetter):
        return []
    return [FeedKey(channel, record.venue, record.symbol) for channel in channels]


def _listed(of: Iterable[str]) -> str:
    names = sorted(of)
    shown = ", ".join(names[:_NAMES_LISTED])
    return f"{shown} and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else shown or "none yet"
