from __future__ import annotations

import pytest

from alphapulse.errors import UnknownInstrument
from gateway.v2.encoding import JSON, Form
from gateway.v2.options import Options
from gateway.v2.selection import FeedKey, Names, Selection
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2

CONFIGURED = {"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ("BTC-USD",)}


def selected(
    bench: BenchV2, channel: str, venue: str | list[str] | None, symbol: str | list[str] | None
) -> list[object]:
    names = [None if each is None else Names.of(each) for each in (venue, symbol)]
    return [tuple(key)[1:] for key in bench.streams.match(Selection(channel, *names), lambda _: True)]


def test_selections_find_what_there_is() -> None:
    bench = BenchV2(configured=CONFIGURED)
    assert selected(bench, "book", "*", "*") == [
        ("coinbase", "BTC-USD"),
        ("kraken", "BTC-USD"),
        ("kraken", "ETH-USD"),
    ]
    assert selected(bench, "book", ["kraken", "coinbase"], "BTC-USD") == [
        ("kraken", "BTC-USD"),
        ("coinbase", "BTC-USD"),
    ]
    assert selected(bench, "book", "z*", "*") == []
    assert selected(bench, "arbitrage", None, "ETH-*") == [(None, "ETH-USD")]
    assert selected(bench, "status", "*", None) == [("coinbase", None), ("kraken", None), (None, None)]
    for venue, symbol in (("krakn", "*"), ("kraken", "XRP-USD"), ("coinbase", "ETH-USD"), ("z*", "BTC-USD")):
        with pytest.raises(UnknownInstrument):
            selected(bench, "book", venue, symbol)


def test_feeds_live_as_long_as_their_subscribers() -> None:
    bench = BenchV2()
    one, other = bench.client(), bench.client()
    key, options = FeedKey("book", "kraken", "BTC-USD"), Options()
    subscribe = {"op": "subscribe", "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}
    one.say(**subscribe)
    feed = bench.streams.variant(key, options, Form(JSON, checksum=False)).feed
    other.say(**subscribe | {"checksum": True})
    assert feed.audience == 2, "two forms of one feed"
    assert bench.streams.audience(market.depth()) == 2
    bench.hub.closed(one.session)
    bench.hub.closed(other.session)
    assert bench.streams.variant(key, options, Form(JSON, checksum=False)).feed is not feed
    assert bench.streams.watchers == {}


def test_audiences_are_counted_by_record() -> None:
    bench = BenchV2()
    client = bench.client()
    for channel in ("bbo", "trades", "stats", "candles"):
        client.say(op="subscribe", channel=channel, venue="*", symbol="*")
    client.say(op="subscribe", channel="arbitrage", symbol="*")
    client.say(op="subscribe", channel="alerts")
    records = (market.depth(), market.trade(), market.statistics(), market.candle(), market.opportunity())
    assert [bench.streams.audience(record) for record in records] == [1] * 5
    assert bench.streams.audience(market.event(severity="ERROR")) == 1
    assert bench.streams.audience(market.event()) == 0
