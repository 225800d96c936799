"""producers.feed.protocol and producers.feed.instruments: what all venues' protocols do alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, ValueRefused
from producers.feed.actions import Resubscribe, Send
from producers.feed.protocol import VenueProtocol
from producers.registry import load, names
from schemas.records import Trade
from tests.fixtures.protocol_run import ProtocolRun
from tests.fixtures.venue_samples import samples

TIME = "2024-01-01T00:00:00.000001Z"


def run(venue: str, *symbols: str) -> ProtocolRun:
    settings = samples(venue).settings.model_copy(update={"symbols": symbols})
    return ProtocolRun(load(venue).protocol(settings))


def encode(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def kraken_book(kind: str, *books: tuple[str, Any]) -> bytes:
    data = [{"symbol": name, "bids": [{"price": 9, "qty": size}], "asks": []} for name, size in books]
    return encode({"channel": "book", "type": kind, "data": data})


def advanced_book(number: int, kind: str, *books: tuple[str, Any]) -> bytes:
    events = [
        {"type": kind, "product_id": name, "updates": [{"side": "bid", "price_level": "9", "new_quantity": size}]}
        for name, size in books
    ]
    return encode({"channel": "l2_data", "timestamp": TIME, "sequence_num": number, "events": events})


KRAKEN = ("BTC/USD", "ETH/USD", "SOL/USD")
ADVANCED = ("BTC-USD", "ETH-USD", "SOL-USD")


@pytest.mark.parametrize("bad", ["-1", 7, None, []])
@pytest.mark.parametrize("venue", ["kraken", "coinbase_advanced"])
def test_of_a_frame_with_several_books_only_those_of_refused_entries_are_in_doubt(venue: str, bad: Any) -> None:
    """Whether a value cannot be used or the entry cannot be read at all."""
    it = run(venue, *ADVANCED)
    if venue == "kraken":
        it.frame(1, kraken_book("snapshot", *((name, 1) for name in KRAKEN)))
        bad = bad if bad != 7 else -7
        broken = kraken_book("update", (KRAKEN[0], 2), (KRAKEN[1], bad), (KRAKEN[2], 3))
        if bad is None:
            broken = broken.replace(b'"bids":[{"price":9,"qty":null}]', b'"checksum":"none"')
    else:
        it.frame(1, advanced_book(0, "snapshot", *((name, "1") for name in ADVANCED)))
        broken = advanced_book(1, "update", (ADVANCED[0], "2"), (ADVANCED[1], bad), (ADVANCED[2], "3"))
    assert all(it.valid(symbol) for symbol in ADVANCED)
    it.frame(2, broken)
    assert [refused.value for refused in it.refused] == [broken]
    assert it.protocol.refused == 1
    assert [it.valid(symbol) for symbol in ADVANCED] == [True, False, True]
    assert it.commands == [Resubscribe("ETH-USD")]
    assert [it.readers[symbol].sequence for symbol in ("BTC-USD", "SOL-USD")] == [1, 1]


def kraken_trade(number: int, price: Any) -> dict[str, Any]:
    return {"symbol": "BTC/USD", "side": "buy", "price": price, "qty": 1, "trade_id": number, "timestamp": TIME}


def advanced_trade(number: int, price: Any) -> dict[str, Any]:
    named = {"trade_id": str(number), "product_id": "BTC-USD", "side": "BUY", "time": TIME}
    return {**named, "price": price, "size": "1"}


def okx_trade(number: int, price: Any) -> dict[str, Any]:
    return {"instId": "BTC-USD", "tradeId": str(number), "px": price, "sz": "1", "side": "buy", "ts": "1"}


def alpaca_trade(number: int, price: Any) -> dict[str, Any]:
    return {"T": "t", "S": "AAPL", "i": number, "x": "V", "p": price, "s": 1, "t": TIME}


TRADES: dict[str, tuple[Callable[[int, Any], dict[str, Any]], Callable[[Any], Any]]] = {
    "kraken": (kraken_trade, lambda trades: {"channel": "trade", "data": trades}),
    "coinbase_advanced": (
        advanced_trade,
        lambda trades: {"channel": "market_trades", "sequence_num": 0, "events": [{"trades": trades}]},
    ),
    "okx": (okx_trade, lambda trades: {"arg": {"channel": "trades", "instId": "BTC-USD"}, "data": trades}),
    "alpaca": (alpaca_trade, lambda trades: trades),
}


@pytest.mark.parametrize("bad", ["-1", "ten", ["1"], {"p": 1}])
@pytest.mark.parametrize("venue", list(TRADES))
def test_a_refused_trade_leaves_the_others_of_its_frame_and_the_book_alone(venue: str, bad: Any) -> None:
    make, frame_of = TRADES[venue]
    it = run(venue, "AAPL" if venue == "alpaca" else "BTC-USD")
    frame = encode(frame_of([make(1, "1"), make(2, bad), make(3, "1"), make(4, bad), make(5, "1")]))
    it.frame(1, frame)
    taken = [int(record.trade_id) % 10**19 for record in it.records if isinstance(record, Trade)]
    assert taken == [1, 3, 5]
    assert [refused.value for refused in it.refused] == [frame]
    assert it.protocol.refused == 1
    assert it.commands == []
    assert sum(note.kind == "dead_letter" for note in it.notes) == 1


def test_a_frame_that_comes_again_is_kept_again() -> None:
    it = run("kraken", "BTC-USD")
    frame = encode({"channel": "trade", "data": [kraken_trade(-1, 1), kraken_trade(-2, 1)]})
    it.frame(1, frame)
    it.frame(2, frame)
    assert [refused.value for refused in it.refused] == [frame, frame]


def test_an_instrument_that_cannot_be_read_leaves_the_other_instruments_known() -> None:
    it = run("kraken", "BTC-USD")
    pairs = [{"symbol": "X/Y"}, {"symbol": "BTC/USD", "price_precision": 3, "qty_precision": 2}]
    it.frame(1, encode({"channel": "instrument", "type": "snapshot", "data": {"pairs": pairs}}))
    assert it.protocol.instruments["BTC-USD"].book.instrument.price_exponent == -3
    assert len(it.refused) == 1
    assert it.commands == []


def cannot_have(venue: str) -> tuple[str, str]:
    """Return two symbols: pairs to a venue of equities, equities to the others."""
    return ("BTC-USD", "ETH-USD") if venue == "alpaca" else ("AAPL", "MSFT")


@pytest.mark.parametrize("venue", names())
def test_every_symbol_that_the_venue_cannot_have_is_told_at_once(venue: str) -> None:
    settings = VenueSettings(symbols=cannot_have(venue), depth=7)
    with pytest.raises(ConfigError) as caught:
        load(venue).protocol(settings)
    faults = [fault for fault in caught.value.faults if fault.startswith(f"venues.{venue}.symbols: ")]
    assert len(faults) == 2
    assert all(symbol in fault for symbol, fault in zip(settings.symbols, faults, strict=True))


@pytest.mark.parametrize("venue", names())
def test_symbols_are_taken_up_all_or_none_and_given_up(venue: str) -> None:
    first, second = samples(venue).simulated
    protocol: VenueProtocol = run(venue, first).protocol
    with pytest.raises(ValueRefused):
        protocol.add([second, cannot_have(venue)[0]])
    assert list(protocol.instruments) == [first]
    added = protocol.add([second])
    assert list(protocol.instruments) == [first, second]
    given_up = protocol.remove(second, 1)
    assert list(protocol.instruments) == [first]
    assert all(isinstance(output, Send) for output in given_up)
    assert bool(added) == bool(given_up) == (venue != "alpaca")  # which is not authenticated yet
    assert second not in str(protocol.subscribe())
    assert protocol.add([second]) or venue == "alpaca"
