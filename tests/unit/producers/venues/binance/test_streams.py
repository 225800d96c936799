from __future__ import annotations

import json

from alphapulse.config import VenueSettings
from producers.feed.actions import FetchSnapshot, Note, Send
from producers.registry import load
from producers.venues.binance import protocol as protocol_module
from producers.venues.binance.protocol import BinanceProtocol
from schemas.records import L2Update

COUNT = load("binance").symbols_per_connection


def diff(symbol: str, number: int) -> bytes:
    data = {"e": "depthUpdate", "E": 1, "s": symbol, "U": number, "u": number, "b": [["9.0", "1"]], "a": []}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data}).encode()


def test_a_full_connection_names_what_an_address_may_hold_and_subscribes_to_the_rest() -> None:
    symbols = tuple(f"COIN{number}-USDT" for number in range(COUNT))
    protocol = BinanceProtocol(VenueSettings(symbols=symbols))
    assert len(protocol.path()) < 8000
    streams = protocol.path().partition("streams=")[2].split("/")
    for send in protocol.subscribe():
        request = json.loads(send.text)
        assert request["method"] == "SUBSCRIBE"
        streams += request["params"]
    wanted = [f"coin{n}usdt@{channel}" for n in range(COUNT) for channel in ("depth@100ms", "trade")]
    assert streams == wanted
    assert len(streams) <= 1024, "the venue's own limit"


def test_symbols_are_taken_up_and_given_up_by_message() -> None:
    protocol = BinanceProtocol(VenueSettings(symbols=("BTC-USDT",)))
    (added,) = protocol.add(["ETH-USDT"])
    assert json.loads(added.text)["params"] == ["ethusdt@depth@100ms", "ethusdt@trade"]
    assert any(isinstance(output, FetchSnapshot) for output in protocol.receive(diff("ETHUSDT", 5), 1))
    assert protocol.waiting == 1
    (removed,) = protocol.remove("ETH-USDT", 2)
    assert isinstance(removed, Send)
    assert json.loads(removed.text)["method"] == "UNSUBSCRIBE"
    assert protocol.waiting == 0
    assert protocol.receive(diff("ETHUSDT", 6), 3) == []
    assert protocol.ignored["other_symbol"] == 1


def test_a_mute_symbol_is_subscribed_to_again_and_its_snapshot_fetched_at_once() -> None:
    protocol = BinanceProtocol(VenueSettings(symbols=("BTC-USDT",)))
    fetch = next(o for o in protocol.receive(diff("BTCUSDT", 5), 1) if isinstance(o, FetchSnapshot))
    body = b'{"lastUpdateId":5,"bids":[["1","1"]],"asks":[["2","1"]]}'
    protocol.snapshot(fetch, body, 2)
    outputs = protocol.revive("BTC-USDT", 3, 60.0)
    assert [o.kind for o in outputs if isinstance(o, L2Update)] == ["INVALID"]
    assert next(o.kind for o in outputs if isinstance(o, Note)) == "silent"
    methods = [json.loads(o.text)["method"] for o in outputs if isinstance(o, Send)]
    assert methods == ["UNSUBSCRIBE", "SUBSCRIBE"]
    again = next(o for o in outputs if isinstance(o, FetchSnapshot))
    # No diff came meanwhile: a quiet market's book is right without one.
    assert [o.kind for o in protocol.snapshot(again, body, 4) if isinstance(o, L2Update)] == ["SNAPSHOT"]


def test_many_symbols_that_wait_for_rationed_snapshots_keep_a_bounded_number_of_diffs() -> None:
    symbols = [f"COIN{number}-USDT" for number in range(500)]
    protocol = BinanceProtocol(VenueSettings(symbols=tuple(symbols)))
    for number in range(1, protocol_module.LEAST_KEPT + 50):
        for symbol in symbols:
            protocol.receive(diff(symbol.replace("-", ""), number), number)
    assert protocol.waiting == protocol_module.MOST_WAITING == 500 * protocol_module.LEAST_KEPT
