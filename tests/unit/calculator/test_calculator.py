"""tests.calculator agrees with every expected.json and with cases done by hand, and imports nothing of the product."""

from __future__ import annotations

import ast
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from producers.registry import names
from tests import calculator, recordings
from tests.calculator.alpaca import Alpaca
from tests.calculator.binance import Binance
from tests.calculator.coinbase import Coinbase
from tests.calculator.coinbase_advanced import CoinbaseAdvanced
from tests.calculator.feed import Feed
from tests.calculator.instrument import plain
from tests.calculator.kraken import Kraken
from tests.calculator.okx import Okx
from tests.calculator.recording import calculate
from tests.recordings.__main__ import lacking


def figures(feed: Feed, symbol: str, *names: str) -> tuple[Any, ...]:
    told = feed.instruments[symbol].figures()
    return tuple(told[name] for name in names)


@pytest.mark.parametrize("recording", recordings.found(), ids=str)
def test_it_agrees_with_expected_json(recording: recordings.Recording) -> None:
    """Ours was written by it; the real recordings' was computed by another program."""
    assert calculate(recording.path) == {"venue": recording.venue, "instruments": recording.instruments}


def entries() -> dict[str, Any]:
    return {
        one.path.name: {"venue": one.venue, "instruments": one.instruments} for one in recordings.of(recordings.OURS)
    }


def test_our_recordings_show_what_their_venues_protocols_can() -> None:
    expected = entries()
    assert lacking(expected) == []
    assert {path.name for path in recordings.OURS.glob("*.rec.gz")} == expected.keys()


def test_there_is_a_recording_of_every_venue() -> None:
    assert {recording.venue for recording in recordings.of(recordings.OURS)} == set(names())


def test_what_a_recording_lacks_is_named() -> None:
    expected = entries()
    del expected["okx_simulated.rec.gz"]
    symbols = expected["kraken_simulated.rec.gz"]["instruments"]
    expected["kraken_simulated.rec.gz"]["instruments"] = {
        name: {**one, "checksums_bad": 0} for name, one in symbols.items()
    }
    assert lacking(expected) == [
        "kraken_simulated.rec.gz: checksums_bad is 0 for every symbol",
        "no recording of okx",
    ]


def test_it_imports_only_itself_and_the_standard_library() -> None:
    folder = Path(str(calculator.__file__)).parent
    imported = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module))
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign
    assert all(name.startswith("tests.calculator.") for name in foreign)


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.00000", "0"), ("61686.00", "61686"), ("1E-8", "0.00000001"), ("100", "100"), ("1E+3", "1000")],
)
def test_numbers_are_plain_decimals(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def kraken_book(kind: str, checksum: int, **sides: list[tuple[str, str]]) -> dict[str, Any]:
    levels = {
        side: [{"price": Decimal(price), "qty": Decimal(size)} for price, size in sides.get(side, [])]
        for side in ("bids", "asks")
    }
    return {"channel": "book", "type": kind, "data": [{"symbol": "BTC/USD", **levels, "checksum": checksum}]}


def price_and_size(level: str) -> tuple[str, str]:
    price, size = level.split()
    return price, size


PUBLISHED = {
    "asks": "45285.2 0.00100000, 45286.4 1.54571953, 45286.6 1.54571109, 45289.6 1.54560911, 45290.2 0.15890660,"
    " 45291.8 1.54553491, 45294.7 0.04454749, 45296.1 0.35380000, 45297.5 0.09945542, 45299.5 0.18772827",
    "bids": "45283.5 0.10000000, 45283.4 1.54582015, 45282.1 0.10000000, 45281.0 0.10000000, 45280.3 1.54592586,"
    " 45279.0 0.07990000, 45277.6 0.03310103, 45277.5 0.30000000, 45277.3 1.54602737, 45276.6 0.15445238",
}
"""The example of https://docs.kraken.com/api/docs/guides/spot-ws-book-v2."""


def test_krakens_published_checksum_holds() -> None:
    feed = Kraken(10)
    feed.take(
        {"channel": "instrument", "data": {"pairs": [{"symbol": "BTC/USD", "price_precision": 1, "qty_precision": 8}]}}
    )
    sides = {name: list(map(price_and_size, text.split(","))) for name, text in PUBLISHED.items()}
    feed.take(kraken_book("snapshot", 3310070434, **sides))
    assert figures(feed, "BTC-USD", "snapshots", "checksums_ok", "checksums_bad") == (1, 1, 0)
    feed.take(kraken_book("update", 1, bids=[("45283.5", "0")]))
    feed.take(kraken_book("update", 2, bids=[("45283.5", "0.2")]))
    assert figures(feed, "BTC-USD", "deltas", "checksums_bad", "ignored") == (0, 1, 1)
    assert feed.instruments["BTC-USD"].figures()["book"]["best_bid"] is None


def test_binance_joins_follows_and_notices_a_gap() -> None:
    feed = Binance()

    def diff(first: int, last: int, *bids: list[str]) -> None:
        feed.take({"data": {"e": "depthUpdate", "s": "BTCUSDT", "U": first, "u": last, "b": list(bids), "a": []}})

    def snapshot(last: int) -> None:
        body = {"lastUpdateId": last, "bids": [["10", "1"]], "asks": [["12", "1"]]}
        feed.take({"rest": "/api/v3/depth?symbol=BTCUSDT&limit=5", "body": body})

    diff(5, 6, ["9", "1"])
    snapshot(3)  # too old
    snapshot(6)
    diff(7, 9, ["9", "2"], ["8", "0"])
    diff(7, 9, ["9", "2"])
    assert figures(feed, "BTC-USDT", "snapshots", "deltas", "level_changes", "ignored", "gaps") == (1, 1, 2, 2, 0)
    diff(11, 12, ["9", "3"])
    snapshot(11)
    assert figures(feed, "BTC-USDT", "snapshots", "deltas", "ignored", "gaps") == (2, 2, 2, 1)
    diff(13, 13, ["12", "1"])  # crossed
    assert feed.instruments["BTC-USDT"].figures()["book"]["bid_levels"] == 0


def test_coinbases_only_sequence_is_the_trade_ids() -> None:
    feed = Coinbase()
    feed.take({"type": "snapshot", "product_id": "A-B", "bids": [["1", "1"]], "asks": [["2", "1"]]})
    feed.take({"type": "l2update", "product_id": "A-B", "changes": [["buy", "1", "0.00"], ["sell", "2", "3"]]})
    for number in (7, 9, 8, 9):
        feed.take({"type": "match", "product_id": "A-B", "trade_id": number, "size": "0.5"})
    names = ("deltas", "level_changes", "trades", "duplicate_trades", "gaps", "base_volume")
    assert figures(feed, "A-B", *names) == (1, 2, 3, 1, 1, "1.5")


def advanced_book(number: int, kind: str, *updates: tuple[str, str, str]) -> dict[str, Any]:
    entries = [{"side": side, "price_level": price, "new_quantity": size} for side, price, size in updates]
    return {
        "channel": "l2_data",
        "sequence_num": number,
        "events": [{"type": kind, "product_id": "A-B", "updates": entries}],
    }


def test_coinbase_advanced_numbers_tell_losses_and_late_messages() -> None:
    feed = CoinbaseAdvanced()
    feed.take(advanced_book(0, "snapshot", ("bid", "1", "1"), ("offer", "2", "1")))
    feed.take(advanced_book(1, "update", ("bid", "1", "2")))
    feed.take(advanced_book(1, "update", ("bid", "1", "2")))  # again
    feed.take({"channel": "heartbeats", "sequence_num": 3, "events": []})
    feed.take(advanced_book(2, "update", ("bid", "1", "3")))  # late
    assert figures(feed, "A-B", "deltas", "gaps", "ignored") == (1, 1, 2)
    feed.take(advanced_book(0, "snapshot", ("bid", "1", "1"), ("offer", "2", "1")))  # a new connection
    feed.take(advanced_book(1, "update", ("bid", "1", "4")))
    assert figures(feed, "A-B", "snapshots", "deltas", "gaps", "ignored") == (2, 2, 1, 2)


def okx_book(action: str, number: int, before: int, *bids: list[str]) -> dict[str, Any]:
    entry = {"bids": list(bids), "asks": [["2", "1", "0", "1"]] if action == "snapshot" else [], "seqId": number}
    return {"arg": {"channel": "books", "instId": "A-B"}, "action": action, "data": [{**entry, "prevSeqId": before}]}


def test_okx_messages_name_the_one_before() -> None:
    feed = Okx()
    feed.take("pong")
    feed.take(okx_book("snapshot", 5, -1, ["1", "1", "0", "1"]))
    feed.take(okx_book("update", 5, 5))  # nothing changed
    feed.take(okx_book("update", 9, 5, ["1", "2", "0", "1"]))
    feed.take(okx_book("update", 9, 5, ["1", "2", "0", "1"]))  # again
    assert figures(feed, "A-B", "deltas", "ignored", "gaps") == (1, 1, 0)
    feed.take(okx_book("update", 12, 10, ["1", "3", "0", "1"]))
    feed.take(okx_book("update", 13, 12, ["1", "3", "0", "1"]))
    assert figures(feed, "A-B", "deltas", "ignored", "gaps") == (1, 2, 1)


def test_alpacas_trade_ids_start_anew_each_day_in_new_york() -> None:
    feed = Alpaca()
    for time in ("2026-11-27T04:59:59.1Z", "2026-11-27T05:00:00.1Z", "2026-11-27T06:00:00Z"):
        feed.take([{"T": "t", "S": "SPY", "i": 1, "x": "V", "s": Decimal("0.5"), "t": time}])
    assert figures(feed, "SPY", "trades", "duplicate_trades", "base_volume") == (2, 1, "1")
