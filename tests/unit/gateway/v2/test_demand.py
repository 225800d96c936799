from __future__ import annotations

from gateway.v2.demand import Demand, SnapshotsRefused
from gateway.v2.encoding import JSON
from gateway.v2.options import Options
from gateway.v2.selection import FeedKey
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.stream_v2 import decoded


def test_the_answer_is_of_the_moment_of_its_making() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1), market.trade("1"))
    keys = [FeedKey(channel, "kraken", "BTC-USD") for channel in ("book", "trades")]
    demand = Demand(None, keys, Options(levels=1), bench.streams, JSON)
    book, trades, done = [decoded(data.decode())[0] for data in demand.snapshot()]
    assert (book["sequence"], len(book["bids"]), book["id"], trades["id"]) == (1, 1, None, None)
    assert done == {"type": "done", "id": None, "feeds": 2}
    bench.put(market.depth(sequence=2))
    assert decoded(demand.resume()[0].decode())[0]["sequence"] == 2, "a slow client gets the newest"


def test_a_refusal_tells_when_to_ask_again() -> None:
    refused = SnapshotsRefused("too fast")
    assert (refused.code, refused.retry_after_ms) == ("rate_limited", 1000)
