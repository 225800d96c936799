"""Whatever happens to a venue's frames: while the stream claims a book to be valid, it is the protocol's book, and the
venue's, as far as the venue's integrity rule can tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

from hypothesis import example, given, settings
from hypothesis import strategies as st

from alphapulse.config import VenueSettings
from producers.feed.actions import FetchSnapshot, Resubscribe
from producers.registry import load
from tests.fixtures.examples import examples
from tests.fixtures.protocol_run import ProtocolRun

DEPTH = 10
Change = tuple[bool, int, int]
"""Bid?, distance from the middle in ticks, size in lots (0 deletes)."""


@dataclass
class Market:
    """A venue's true book: prices in tenths around 1000.0, sizes in tenths."""

    bids: dict[int, int] = field(default_factory=lambda: {10_000 - n: n for n in range(1, 15)})
    asks: dict[int, int] = field(default_factory=lambda: {10_000 + n: n for n in range(1, 15)})

    def change(self, changes: list[Change]) -> None:
        for is_bid, distance, size in changes:
            side, price = (self.bids, 10_000 - distance) if is_bid else (self.asks, 10_000 + distance)
            if size:
                side[price] = size
            elif len(side) > DEPTH + 2:
                side.pop(price, None)

    def top(self, depth: int | None = None) -> tuple[dict[int, int], dict[int, int]]:
        bids = dict(sorted(self.bids.items(), reverse=True)[:depth])
        return bids, dict(sorted(self.asks.items())[:depth])

    def text(self, depth: int | None = None) -> str:
        lines = []
        for mark, side in zip("BA", self.top(depth), strict=True):
            lines += [f"{mark} {decimal(price)} {decimal(size)}\n" for price, size in side.items()]
        return "".join(lines)


def decimal(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}".removesuffix(".0")


def fixed(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"


def difference(before: dict[int, int], after: dict[int, int]) -> list[tuple[int, int]]:
    changed = [(price, size) for price, size in after.items() if before.get(price) != size]
    return [(price, 0) for price in before if price not in after] + changed


class KrakenVenue:
    """Sends what its depth-10 book changes by; no deletes for what falls out of the depth."""

    name = "kraken"
    symbol = "BTC-USD"
    depth: int | None = DEPTH
    settings = VenueSettings(symbols=("BTC-USD",), depth=DEPTH)
    detects_loss = True

    def __init__(self, market: Market) -> None:
        self.market = market
        self.before = market.top(DEPTH)

    def _message(self, kind: str, sides: list[list[tuple[int, int]]]) -> bytes:
        bids, asks = self.market.top(DEPTH)
        digits = "".join(f"{price}{size}" for side in (asks, bids) for price, size in side.items())
        texts = [
            ",".join(f'{{"price":{fixed(price)},"qty":{fixed(size)}}}' for price, size in levels) for levels in sides
        ]
        data = f'"symbol":"BTC/USD","bids":[{texts[0]}],"asks":[{texts[1]}],"checksum":{crc32(digits.encode())}'
        return f'{{"channel":"book","type":"{kind}","data":[{{{data}}}]}}'.encode()

    def snapshot(self) -> bytes:
        self.before = self.market.top(DEPTH)
        return self._message("snapshot", [list(side.items()) for side in self.before])

    def update(self) -> bytes:
        after = self.market.top(DEPTH)
        sides = [difference(old, new) for old, new in zip(self.before, after, strict=True)]
        worst = (min(after[0]), max(after[1]))
        # Out of scope is not deleted: the level still exists beyond the depth.
        sides[0] = [(p, s) for p, s in sides[0] if s or p not in self.market.bids or p >= worst[0]]
        sides[1] = [(p, s) for p, s in sides[1] if s or p not in self.market.asks or p <= worst[1]]
        self.before = after
        return self._message("update", sides)

    def serve(self, run: ProtocolRun, time: int) -> None:
        if Resubscribe(self.symbol) in run.commands:
            run.commands.clear()
            run.frame(time, self.snapshot())

    def connected(self, run: ProtocolRun, time: int) -> None:
        run.commands.clear()
        pair = b'{"symbol":"BTC/USD","price_precision":1,"qty_precision":1}'
        run.frame(time, b'{"channel":"instrument","data":{"pairs":[' + pair + b"]}}")
        run.frame(time, self.snapshot())


class BinanceVenue:
    """Numbers its diffs; a snapshot is asked for and comes some frames later."""

    name = "binance"
    symbol = "BTC-USDT"
    depth: int | None = None
    settings = VenueSettings(symbols=("BTC-USDT",))
    detects_loss = True

    def __init__(self, market: Market) -> None:
        self.market = market
        self.before = market.top()
        self.last = 100

    def update(self) -> bytes:
        after = self.market.top()
        sides = [
            [[fixed(p), fixed(s)] for p, s in difference(old, new)] for old, new in zip(self.before, after, strict=True)
        ]
        first, self.last = self.last + 1, self.last + 1 + len(sides[0])
        self.before = after
        data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": first, "u": self.last, "b": sides[0], "a": sides[1]}
        return json.dumps({"stream": "btcusdt@depth@100ms", "data": data}).encode()

    def serve(self, run: ProtocolRun, time: int) -> None:
        request = run.wanted.pop(self.symbol, None)
        if isinstance(request, FetchSnapshot):
            bids, asks = ([[fixed(p), fixed(s)] for p, s in side.items()] for side in self.before)
            body = json.dumps({"lastUpdateId": self.last, "bids": bids, "asks": asks}).encode()
            run.take(run.protocol.snapshot(request, body, time))

    def connected(self, run: ProtocolRun, time: int) -> None:
        run.wanted.clear()


class CoinbaseVenue:
    """Neither numbers nor checksums: what is lost cannot be noticed, what cannot be read can."""

    name = "coinbase"
    symbol = "BTC-USD"
    depth: int | None = None
    settings = VenueSettings(symbols=("BTC-USD",))
    detects_loss = False

    def __init__(self, market: Market) -> None:
        self.market = market
        self.before = market.top()

    def snapshot(self) -> bytes:
        bids, asks = ([[fixed(p), fixed(s)] for p, s in side.items()] for side in self.before)
        return json.dumps({"type": "snapshot", "product_id": "BTC-USD", "bids": bids, "asks": asks}).encode()

    def update(self) -> bytes:
        after = self.market.top()
        changes = [
            [side, fixed(p), fixed(s)]
            for side, old, new in zip(("buy", "sell"), self.before, after, strict=True)
            for p, s in difference(old, new)
        ]
        self.before = after
        return json.dumps({"type": "l2update", "product_id": "BTC-USD", "changes": changes, "time": ""}).encode()

    def serve(self, run: ProtocolRun, time: int) -> None:
        if Resubscribe(self.symbol) in run.commands:
            run.commands.clear()
            run.frame(time, self.snapshot())

    def connected(self, run: ProtocolRun, time: int) -> None:
        run.commands.clear()
        run.frame(time, self.snapshot())


class OkxVenue:
    """Names in each message the one before; the numbers themselves jump."""

    name = "okx"
    symbol = "BTC-USDT"
    depth: int | None = None
    settings = VenueSettings(symbols=("BTC-USDT",))
    detects_loss = True

    def __init__(self, market: Market) -> None:
        self.market = market
        self.before = market.top()
        self.last = 100

    def _message(self, action: str, sides: list[list[tuple[int, int]]], previous: int) -> bytes:
        bids, asks = ([[fixed(p), fixed(s), "0", "1"] for p, s in side] for side in sides)
        data = {"bids": bids, "asks": asks, "ts": "1", "checksum": 0, "seqId": self.last, "prevSeqId": previous}
        argument = {"channel": "books", "instId": "BTC-USDT"}
        return json.dumps({"arg": argument, "action": action, "data": [data]}).encode()

    def snapshot(self) -> bytes:
        return self._message("snapshot", [list(side.items()) for side in self.before], -1)

    def update(self) -> bytes:
        after, previous = self.market.top(), self.last
        sides = [difference(old, new) for old, new in zip(self.before, after, strict=True)]
        self.before = after
        self.last += 3 * len(sides[0] + sides[1])  # an unchanged book repeats its number
        return self._message("update", sides, previous)

    def serve(self, run: ProtocolRun, time: int) -> None:
        if Resubscribe(self.symbol) in run.commands:
            run.commands.clear()
            run.frame(time, self.snapshot())

    def connected(self, run: ProtocolRun, time: int) -> None:
        run.commands.clear()
        run.frame(time, self.snapshot())


class CoinbaseAdvancedVenue:
    """Numbers everything it sends on a connection; heartbeats come in between."""

    name = "coinbase_advanced"
    symbol = "BTC-USD"
    depth: int | None = None
    settings = VenueSettings(symbols=("BTC-USD",))
    detects_loss = True

    def __init__(self, market: Market) -> None:
        self.market = market
        self.before = market.top()
        self.number = -1

    def _frame(self, channel: str, *events: object) -> bytes:
        self.number += 1
        head = {"channel": channel, "timestamp": "", "sequence_num": self.number}
        return json.dumps({**head, "events": events}).encode()

    def _book(self, kind: str, sides: list[list[tuple[int, int]]]) -> bytes:
        updates = [
            {"side": side, "event_time": "", "price_level": fixed(p), "new_quantity": fixed(s)}
            for side, levels in zip(("bid", "offer"), sides, strict=True)
            for p, s in levels
        ]
        return self._frame("l2_data", {"type": kind, "product_id": "BTC-USD", "updates": updates})

    def snapshot(self) -> bytes:
        return self._book("snapshot", [list(side.items()) for side in self.before])

    def update(self) -> bytes:
        after = self.market.top()
        sides = [difference(old, new) for old, new in zip(self.before, after, strict=True)]
        self.before = after
        return self._book("update", sides)

    def serve(self, run: ProtocolRun, time: int) -> None:
        run.frame(time, self._frame("heartbeats", {"heartbeat_counter": 1}))
        if Resubscribe(self.symbol) in run.commands:
            run.commands.clear()
            run.frame(time, self.snapshot())

    def connected(self, run: ProtocolRun, time: int) -> None:
        run.commands.clear()
        self.number = -1
        run.frame(time, self.snapshot())


class BitstampVenue:
    """Stamps its diffs and numbers nothing: what is lost cannot be noticed, what comes late or cannot be read can."""

    name = "bitstamp"
    symbol = "BTC-USD"
    depth: int | None = None
    settings = VenueSettings(symbols=("BTC-USD",))
    detects_loss = False

    def __init__(self, market: Market) -> None:
        self.market = market
        self.before = market.top()
        self.last = 100

    def update(self) -> bytes:
        after = self.market.top()
        sides = [
            [[fixed(p), fixed(s)] for p, s in difference(old, new)] for old, new in zip(self.before, after, strict=True)
        ]
        self.before = after
        self.last += 1
        data = {"timestamp": "0", "microtimestamp": str(self.last), "bids": sides[0], "asks": sides[1]}
        return json.dumps({"data": data, "channel": "diff_order_book_btcusd", "event": "data"}).encode()

    def serve(self, run: ProtocolRun, time: int) -> None:
        request = run.wanted.pop(self.symbol, None)
        if isinstance(request, FetchSnapshot):
            bids, asks = ([[fixed(p), fixed(s)] for p, s in side.items()] for side in self.before)
            body = json.dumps({"microtimestamp": str(self.last), "bids": bids, "asks": asks}).encode()
            run.take(run.protocol.snapshot(request, body, time))

    def connected(self, run: ProtocolRun, time: int) -> None:
        run.wanted.clear()
        run.frame(time, b'{"event":"bts:subscription_succeeded","channel":"diff_order_book_btcusd","data":{}}')


AnyVenue = KrakenVenue | BinanceVenue | CoinbaseVenue | OkxVenue | CoinbaseAdvancedVenue | BitstampVenue
changes = st.lists(st.tuples(st.booleans(), st.integers(1, 20), st.integers(0, 30)), min_size=0, max_size=4)
steps = st.lists(
    st.tuples(
        st.sampled_from(["pass"] * 6 + ["drop", "double", "swap", "cut", "garble", "reconnect", "serve", "serve"]),
        changes,
    ),
    max_size=40,
)


def disturbed(venue: AnyVenue, run: ProtocolRun, script: list[tuple[str, list[Change]]]) -> None:
    """Play ``script``, checking after every step."""
    held: bytes | None = None
    lost = False  # the last frame never came: nobody can know before the next one
    undone = False  # the last frame came too late; if the one before it took it back, both states have a valid checksum
    time = 0
    venue.connected(run, time)
    for what, change in script:
        time += 1
        if what == "serve":
            venue.serve(run, time)
        elif what == "reconnect":
            held, lost, undone = None, False, False
            run.take(run.protocol.disconnected(time))
            venue.connected(run, time)
        else:
            venue.market.change(change)
            frame = venue.update()
            frames = [frame] if held is None else [frame, held]
            undone = held is not None and isinstance(venue, KrakenVenue)
            held, lost = None, venue.detects_loss and what == "drop"
            if lost:
                frames = []
            elif what == "double":
                frames += frames
            elif venue.detects_loss and what == "swap":
                held, frames = frame, frames[1:]
            elif what == "cut":
                frames[0] = frame[: len(frame) * 3 // 4]
            elif what == "garble":
                frames[0] = frame.replace(b"0", b"x")
            for sent in frames:
                run.frame(time, sent)
        check(venue, run, intact=held is None and not lost and not undone)


def check(venue: AnyVenue, run: ProtocolRun, *, intact: bool) -> None:
    book, reader = run.protocol.instruments[venue.symbol].book, run.readers[venue.symbol]
    assert reader.valid == book.valid
    if not book.valid:
        return
    text = book.book.text(book.price_exponent, book.size_exponent)
    assert reader.book.text(reader.price_exponent, reader.size_exponent) == text
    assert (reader.epoch, reader.sequence) == (book.epoch, book.sequence)
    assert not book.book.crossed
    last_known = isinstance(venue, BinanceVenue) and run.protocol._sync[venue.symbol].last != venue.last  # type: ignore[attr-defined]
    if intact and not last_known:
        assert text == venue.market.text(venue.depth)


def _check_venue(make: Callable[[Market], AnyVenue], script: list[tuple[str, list[Change]]]) -> None:
    venue = make(Market())
    run = ProtocolRun(load(venue.name).protocol(venue.settings))
    disturbed(venue, run, script)
    # Whatever happened, it heals: a snapshot is asked for, or comes with the next frames.
    for time in range(1000, 1006):
        run.frame(time, venue.update())
        venue.serve(run, time)
        check(venue, run, intact=True)
    assert run.valid(venue.symbol)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
@example([("swap", [(False, 1, 2)]), ("pass", [(False, 1, 0)])])
@example([("swap", [(False, 1, 2)]), ("pass", [(False, 1, 0)]), ("pass", [])])
def test_kraken(script: list[tuple[str, list[Change]]]) -> None:
    _check_venue(KrakenVenue, script)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
def test_binance(script: list[tuple[str, list[Change]]]) -> None:
    _check_venue(BinanceVenue, script)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
def test_coinbase(script: list[tuple[str, list[Change]]]) -> None:
    _check_venue(CoinbaseVenue, script)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
def test_okx(script: list[tuple[str, list[Change]]]) -> None:
    _check_venue(OkxVenue, script)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
def test_coinbase_advanced(script: list[tuple[str, list[Change]]]) -> None:
    _check_venue(CoinbaseAdvancedVenue, script)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_bitstamp(script: list[tuple[str, list[Change]]]) -> None:
    _check_venue(BitstampVenue, script)
