from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from alphapulse import metrics
from alphapulse.config import Settings
from alphapulse.service import Service
from schemas.records import L2Update, Record
from stream_processors.engine.ops import Ops, _Rate, tell_book
from stream_processors.engine.ownership import OwnedPartition
from stream_processors.engine.worker import Worker, arbitrage_rules_of, rules_of
from stream_processors.processing.instrument import ProcessedInstrument, Rules
from stream_processors.processing.partition import Partition
from tests.fixtures.l2_feed import Feed


def filled(to: Partition, feed: Feed, deltas: int = 20) -> None:
    out: list[Record] = []
    for record in feed.run(deltas):
        if isinstance(record, L2Update):
            to.apply_l2(0, record, 0, out)
        else:
            to.apply_trade(0, record, 0, out)


def worker(folder: Path) -> Worker:
    settings = Settings(data_dir=folder)
    made = Worker(Service("processors", settings))
    for number, venue in enumerate(("kraken", "coinbase")):
        partition = Partition(number, rules_of(settings), arbitrage_rules_of(settings))
        filled(partition, Feed(venue, seed=number))
        made.ownership.partitions[number] = OwnedPartition(partition)
    return made


async def ask(ops: Ops, query: str = "") -> list[dict[str, Any]]:
    answer = await ops.books(make_mocked_request("GET", f"/books{query}"))
    assert answer.text is not None
    found: list[dict[str, Any]] = json.loads(answer.text)["instruments"]
    return found


async def test_books_tells_every_instrument(tmp_path: Path) -> None:
    told = await ask(Ops(worker(tmp_path)))
    assert [(one["venue"], one["symbol"]) for one in told] == [("coinbase", "BTC-USD"), ("kraken", "BTC-USD")]
    feed = Feed("kraken", seed=0)
    trades = [record for record in feed.run(20) if not isinstance(record, L2Update)]
    reader = feed.book()
    assert told[1] | {"best_bid": None, "best_ask": None} == {
        "venue": "kraken",
        "symbol": "BTC-USD",
        "valid": True,
        "epoch": str(reader.epoch),
        "sequence": 20,
        "snapshots": 1,
        "deltas": 20,
        "level_changes": 160,
        "trades": len(trades),
        "duplicate_trades": 0,
        "base_volume": f"{sum(one.size for one in trades) / 1e8:.8f}".rstrip("0"),
        "late_trades": 0,
        "doubted_trades": 0,
        "gaps": 0,
        "invalidated": 0,
        "bid_levels": len(reader.book.bids),
        "ask_levels": len(reader.book.asks),
        "best_bid": None,
        "best_ask": None,
        "crossed": False,
        "sha256": reader.book.sha256(-2, -8),
    }
    assert told[1]["best_bid"].startswith("599")


async def test_one_book_with_all_its_levels(tmp_path: Path) -> None:
    ops = Ops(worker(tmp_path))
    (told,) = await ask(ops, "?venue=kraken&symbol=BTC-USD&levels=full")
    assert len(told["bids"]) == told["bid_levels"]
    assert told["bids"][0][0] == told["best_bid"]
    assert told["asks"][0][0] == told["best_ask"]
    assert "bids" not in (await ask(ops, "?venue=kraken"))[0]
    assert await ask(ops, "?symbol=ETH-USD") == []
    with pytest.raises(web.HTTPBadRequest) as refused:
        await ask(ops, "?levels=some")
    assert refused.value.text == "levels: expected none or full, found 'some'"


def test_status_before_and_after_the_first_records(tmp_path: Path) -> None:
    empty = Ops(Worker(Service("processors", Settings(data_dir=tmp_path)))).status()
    assert (empty["records"], empty["books"], empty["partitions"]) == (0, 0, [])
    assert empty["lag"] == {"md.l2": 0, "md.trades": 0, "md.depth": 0}
    told = Ops(worker(tmp_path)).status()
    assert (told["books"], told["valid_books"], told["gaps"], told["partitions"]) == (2, 2, 0, [0, 1])
    exposed = metrics.exposition()[0].decode()
    assert 'alphapulse_books{valid="true"} 2.0' in exposed
    assert "alphapulse_open_opportunities 0.0" in exposed
    assert 'alphapulse_lag_records{group="alphapulse-processors",topic="md.l2"} 0.0' in exposed


def test_an_instrument_without_a_book_has_no_prices() -> None:
    told = tell_book(ProcessedInstrument("kraken", "BTC-USD", Rules()))
    assert (told["valid"], told["best_bid"], told["best_ask"], told["base_volume"]) == (False, None, None, "0")


def test_the_rate_is_over_at_least_half_a_second() -> None:
    rate = _Rate()
    rate._at = 10.0
    assert rate.of(100, 10.4) == 0.0
    assert rate.of(100, 12.0) == 50.0
    assert rate.of(500, 12.1) == 50.0
