from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from alphapulse.errors import UnknownInstrument
from gateway.channels import CHANNEL_OF, CHANNELS
from gateway.consumer import TAIL
from gateway.outbox import Source
from gateway.protocol import Subscription
from gateway.requests import Subscribe, parse
from gateway.state import MarketState
from schemas.records import TOPIC_OF, Record
from tests.fixtures import market
from tests.fixtures.market import MAX_BOOK_AGE, START

DOCUMENT = Path(__file__).parents[3] / "docs" / "stream-v1.md"

RECORDS: dict[str, Record] = {
    "book": market.depth(),
    "trades": market.trade(),
    "arbitrage": market.opportunity(state="CLOSED"),
    "stats": market.statistics(),
    "candles": market.candle(),
}


class Listener:
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def deliver(self, source: Source[str], text: str) -> None:
        self.heard.append(json.loads(text))


def test_every_channel_is_documented() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## Channels\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)`(.*?)\|", section, re.MULTILINE)
    assert [name for name, _ in documented] == list(CHANNELS)
    for name, rest in documented:
        assert ("no venue" in rest) != CHANNELS[name].takes_venue, name


def test_a_record_is_told_by_one_channel_and_read_by_the_gateway() -> None:
    assert len(CHANNEL_OF) == len(CHANNELS) == len(RECORDS)
    for record, channel in CHANNEL_OF.items():
        assert TOPIC_OF[record] in TAIL, channel.name


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_can_be_asked_for_and_tells_its_records_under_its_name(name: str) -> None:
    channel, record = CHANNELS[name], RECORDS[name]
    asked = {"op": "subscribe", "channel": name, "symbol": "BTC-USD"} | (
        {"venue": "kraken"} if channel.takes_venue else {}
    )
    message = parse(json.dumps(asked))
    assert isinstance(message, Subscribe)
    assert isinstance(record, channel.record)
    assert message.subscription in channel.concerned(record)
    state, listener = MarketState({"kraken": ["BTC-USD"]}, max_book_age=MAX_BOOK_AGE), Listener()
    feed = channel.feed(state, message.subscription)
    feed.subscribers[listener] = None
    assert state.apply(record, START)
    feed.publish(record)
    heard = [*listener.heard, *map(json.loads, feed.snapshot())]
    assert heard
    assert {one["channel"] for one in heard} == {name}


@pytest.mark.parametrize("name", CHANNELS)
def test_what_does_not_exist_has_no_feed(name: str) -> None:
    state = MarketState({"kraken": ["BTC-USD"]}, max_book_age=MAX_BOOK_AGE)
    venue = "kraken" if CHANNELS[name].takes_venue else None
    with pytest.raises(UnknownInstrument, match="XRP-USD"):
        CHANNELS[name].feed(state, Subscription(name, venue, "XRP-USD"))
