from __future__ import annotations

from gateway.v2.demand import Demand, SnapshotsRefused
from gateway.v2.encoding import JSON
from gateway.v2.options import Options
from gateway.v2.selection import FeedKey
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.stream_v2 import decoded

KEYS = [FeedKey(channel, "kraken", "BTC-USD") for channel in ("book", "trades")]


def test_each_part_is_of_the_moment_of_its_making() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1), market.trade("1"))
    parts = Demand(None, KEYS, Options(levels=1), bench.streams, JSON, lambda _: True).parts()
    bench.put(market.depth(sequence=2))
    book, trades, done = [decoded(data.decode())[0] for part in parts for data in part()]
    assert (book["sequence"], len(book["bids"]), book["id"], trades["id"]) == (2, 1, None, None)
    assert done == {"type": "done", "id": None, "feeds": 2}


def test_what_may_no_longer_be_seen_is_left_out() -> None:
    bench = BenchV2()
    seen = set(KEYS)
    parts = Demand(7, KEYS, Options(), bench.streams, JSON, lambda key: key in seen).parts()
    seen.remove(KEYS[0])
    trades, done = [decoded(data.decode())[0] for part in parts for data in part()]
    assert (trades["channel"], done["feeds"]) == ("trades", 1)


def test_a_refusal_tells_when_to_ask_again() -> None:
    refused = SnapshotsRefused("too fast")
    assert (refused.code, refused.retry_after_ms) == ("rate_limited", 1000)
