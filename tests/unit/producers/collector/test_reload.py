from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from alphapulse.config import Settings, VenueSettings
from producers.collector.reload import Follower, difference
from producers.registry import load
from tests.fixtures.live import live
from tests.fixtures.venue_server import until


def test_a_difference_is_told_in_words() -> None:
    before = VenueSettings(symbols=("BTC-USD", "ETH-USD"), taker_fee_basis_points=Decimal(10))
    after = before.model_copy(update={"symbols": ("ETH-USD", "SOL-USD"), "depth": 100})
    assert difference(before, after) == {"symbols": "+ SOL-USD - BTC-USD", "depth": "None → 100"}
    assert difference(before, before) == {}
    turned = before.model_copy(update={"symbols": ("ETH-USD", "BTC-USD")})
    assert difference(before, turned) == {"symbols": "other order"}


def test_secrets_are_not_told() -> None:
    told = difference(VenueSettings(), VenueSettings(key=SecretStr("abc"), secret=SecretStr("def")))
    assert told == {"key": "changed", "secret": "changed"}


async def test_what_needs_a_restart_is_said() -> None:
    venue = VenueSettings(symbols=("BTC-USD",), websocket_url="ws://127.0.0.1:1")
    before = Settings(venues={"coinbase": venue})
    async with live(load("coinbase"), venue) as it:
        follower = Follower(it.collector, before, "coinbase")
        follower.apply(before.model_copy(update={"data_dir": Path("elsewhere")}))
        await until(lambda: it.events("config_change"))
        assert it.events("config_change")[0].message == "restart the collector to apply: data_dir"
        follower.apply(before.model_copy(update={"data_dir": Path("elsewhere"), "venues": {}}))
        await until(lambda: it.collector.status()["connections"] == [])
