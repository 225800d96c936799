from __future__ import annotations

import json
from typing import Any

from alphapulse.config import VenueSettings
from producers.collector.handover import Handover
from producers.feed.actions import Note, Outputs, Reconnect, Resubscribe
from producers.feed.protocol import VenueProtocol
from producers.venues.coinbase.protocol import CoinbaseProtocol
from schemas.book_reader import BookReader
from schemas.records import L2Update, Trade

SYMBOLS = ("BTC-USD", "ETH-USD")


def snapshot(symbol: str = "BTC-USD", bid: str = "10.00") -> bytes:
    return json.dumps(
        {"type": "snapshot", "product_id": symbol, "bids": [[bid, "1"]], "asks": [["11.00", "2"]]}
    ).encode()


def update(symbol: str = "BTC-USD", price: str = "9.00") -> bytes:
    return json.dumps({"type": "l2update", "product_id": symbol, "changes": [["buy", price, "1"]], "time": ""}).encode()


def match(number: int, symbol: str = "BTC-USD") -> bytes:
    trade = {"type": "match", "trade_id": number, "side": "sell", "size": "0.5", "price": "10", "product_id": symbol}
    return json.dumps(trade).encode()


class Two:
    """An old and a new protocol, and what is published of them."""

    def __init__(self) -> None:
        settings = VenueSettings(symbols=SYMBOLS)
        self.old, self.new = CoinbaseProtocol(settings), CoinbaseProtocol(settings)
        self.time = 1000
        self.published: Outputs = []
        for symbol in SYMBOLS:
            self.published += self.old.receive(snapshot(symbol), self.tick())
        self.handover = Handover(self.old, self.new)

    def tick(self) -> int:
        self.time += 1000
        return self.time

    def hear_old(self, *frames: bytes) -> Outputs:
        return self._hear(self.old, self.handover.of_old, frames)

    def hear_new(self, *frames: bytes) -> Outputs:
        return self._hear(self.new, self.handover.of_new, frames)

    def _hear(self, protocol: VenueProtocol, keep: Any, frames: tuple[bytes, ...]) -> Outputs:
        kept: Outputs = []
        for frame in frames:
            kept += keep(protocol.receive(frame, self.tick()))
        self.published += kept
        return kept

    def finish(self) -> None:
        self.published += self.handover.of_old(self.old.disconnected(self.tick()))
        self.published += self.handover.finish()

    def trades(self) -> list[int]:
        return [int(record.trade_id) for record in self.published if isinstance(record, Trade)]

    def kinds(self, symbol: str) -> list[str]:
        return [r.kind for r in self.published if isinstance(r, L2Update) and r.symbol == symbol]

    def valid_throughout(self, symbol: str) -> bool:
        reader = BookReader()
        for record in self.published:
            if isinstance(record, L2Update) and record.symbol == symbol:
                reader.apply(record)
                if not reader.valid:
                    return False
        return True


def test_a_book_changes_over_at_the_new_snapshot_and_is_never_invalid() -> None:
    two = Two()
    two.hear_old(update(price="9"))
    assert two.hear_new(update(price="8")) == []
    two.hear_new(snapshot(), snapshot("ETH-USD"), update(price="7"))
    assert two.hear_old(update(price="6")) == []
    assert two.handover.complete
    two.finish()
    assert two.kinds("BTC-USD") == ["SNAPSHOT", "DELTA", "SNAPSHOT", "DELTA"]
    assert two.kinds("ETH-USD") == ["SNAPSHOT", "SNAPSHOT"]
    assert two.valid_throughout("BTC-USD")
    assert two.valid_throughout("ETH-USD")


def test_it_is_not_complete_while_a_valid_book_would_be_lost() -> None:
    two = Two()
    two.hear_new(snapshot())
    assert not two.handover.complete
    two.hear_old(update("ETH-USD", "99"))  # crossed: nothing is lost with it
    assert two.handover.complete


def test_a_book_that_is_not_taken_over_in_time_ends_with_the_old_connection() -> None:
    two = Two()
    two.hear_new(snapshot())
    two.finish()
    assert two.kinds("ETH-USD") == ["SNAPSHOT", "INVALID"]
    assert two.kinds("BTC-USD") == ["SNAPSHOT", "SNAPSHOT"]


def test_trades_come_once_whoever_brings_them_and_none_is_lost() -> None:
    two = Two()
    two.hear_old(match(1), match(2))
    two.hear_new(match(2), match(3), match(4), match(5))
    two.hear_old(match(3))
    assert two.trades() == [1, 2, 3]
    two.finish()
    assert two.trades() == [1, 2, 3, 4, 5]
    two.published += two.new.receive(match(5), two.tick())
    two.published += two.new.receive(match(6), two.tick())
    assert two.trades() == [1, 2, 3, 4, 5, 6]
    assert not any(isinstance(output, Note) and output.kind == "trade_gap" for output in two.published)


def test_trades_that_neither_brought_are_a_gap_told_once() -> None:
    two = Two()
    two.hear_old(match(1))
    two.hear_new(match(4), match(7))
    two.finish()
    gaps = [output.details["missing"] for output in two.published if isinstance(output, Note)]
    assert gaps == ["2", "2"]
    assert two.new.instruments["BTC-USD"].tally.trade_gaps == 2


def test_figures_are_those_of_what_was_published() -> None:
    two = Two()
    two.hear_old(update(), match(1), match(1))
    two.hear_new(match(1), match(2), snapshot(), update())
    two.hear_old(update(), update())
    assert two.handover.report("BTC-USD")["deltas"] == 3  # the old one's, until it goes
    assert two.handover.report("BTC-USD")["epoch"] == two.new.instruments["BTC-USD"].book.epoch
    two.finish()
    two.published += two.new.receive(match(3), two.tick())
    report = two.new.instruments["BTC-USD"].report()
    assert (report["snapshots"], report["deltas"]) == (2, 2)
    assert (report["trades"], report["duplicate_trades"], report["base_volume"]) == (3, 2, "1.5")
    assert report["published_l2"] == len(two.kinds("BTC-USD")) == 4
    assert report["trades"] == len(two.trades())


def test_what_the_old_one_asks_for_after_its_book_was_taken_is_dropped() -> None:
    two = Two()
    two.hear_new(snapshot())
    assert two.hear_old(update(price="99")) == []
    assert two.handover.of_old([Resubscribe("BTC-USD"), Reconnect("again")]) == []
    assert two.handover.of_old([Resubscribe("ETH-USD")]) == [Resubscribe("ETH-USD")]


def test_symbols_that_only_the_new_one_has_pass() -> None:
    old, new = CoinbaseProtocol(VenueSettings()), CoinbaseProtocol(VenueSettings(symbols=("BTC-USD",)))
    handover = Handover(old, new)
    outputs = [*new.receive(snapshot(), 1), *new.receive(match(1), 2)]
    assert handover.of_new(outputs) == outputs
    assert handover.complete
    assert handover.finish() == []


def test_a_book_is_confirmed_by_the_connection_it_is_published_from() -> None:
    two = Two()
    two.hear_new(snapshot())
    two.published += two.handover.of_old(two.old.heartbeats(two.tick(), two.time))
    two.published += two.handover.of_new(two.new.heartbeats(two.tick(), two.time))
    assert two.kinds("BTC-USD") == ["SNAPSHOT", "SNAPSHOT", "HEARTBEAT"]
    assert two.kinds("ETH-USD") == ["SNAPSHOT", "HEARTBEAT"]
    assert two.valid_throughout("BTC-USD")
    assert two.valid_throughout("ETH-USD")


def test_a_late_new_connection_takes_over_when_it_has_caught_up() -> None:
    two = Two()
    two.published += two.handover.of_new(two.new.withhold(two.tick()))
    two.hear_new(snapshot(), update(price="8"))
    two.hear_old(update(price="8"))
    assert two.handover.report("BTC-USD")["valid"]
    assert not two.handover.complete
    for outputs in two.new.resume(two.tick):
        two.published += two.handover.of_new(outputs)
    assert two.kinds("BTC-USD") == ["SNAPSHOT", "DELTA", "SNAPSHOT"]
    assert two.valid_throughout("BTC-USD")


def test_a_late_old_connection_ends_the_books_that_are_still_its() -> None:
    two = Two()
    two.hear_new(snapshot())
    two.published += two.handover.of_old(two.old.withhold(two.tick()))
    assert two.valid_throughout("BTC-USD")
    assert two.kinds("ETH-USD") == ["SNAPSHOT", "INVALID"]
    assert not two.handover.report("ETH-USD")["valid"]
    two.hear_new(snapshot("ETH-USD"))
    for outputs in two.old.resume(two.tick):
        two.published += two.handover.of_old(outputs)
    assert two.kinds("ETH-USD") == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
