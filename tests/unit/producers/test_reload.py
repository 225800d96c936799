from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from alphapulse import config
from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import ConfigError
from producers.reload import Follower, check, difference
from producers.venues import load
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


def test_every_fault_of_every_venue_is_found() -> None:
    settings = Settings(
        venues={
            "kraken": VenueSettings(symbols=("BTC-USD", "AAPL"), depth=7),
            "krakn": VenueSettings(),
            "coinbase": VenueSettings(symbols=("*-USD",)),
        }
    )
    with pytest.raises(ConfigError) as caught:
        check(settings, "kraken")
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        "venues.kraken.depth",
        "venues.kraken.symbols",
        "venues.krakn",
    ]


def test_the_shipped_configuration_is_one_that_all_venues_accept() -> None:
    check(config.load(Path(__file__).resolve().parents[3] / "deploy" / "config"), "kraken")


def test_anothers_key_is_no_matter_of_ours_and_a_venue_switched_off_none_of_anybody() -> None:
    alpaca = VenueSettings(symbols=("AAPL",))
    check(Settings(venues={"kraken": VenueSettings(), "alpaca": alpaca}), "kraken")
    with pytest.raises(ConfigError, match=r"venues\.alpaca\.key"):
        check(Settings(venues={"alpaca": alpaca}), "alpaca")
    off = VenueSettings(enabled=False, depth=7)
    check(Settings(venues={"kraken": off}), "kraken")
    with pytest.raises(ConfigError, match="unknown venue"):
        check(Settings(venues={"krakn": off}), "kraken")


async def test_what_needs_a_restart_is_said() -> None:
    venue = VenueSettings(symbols=("BTC-USD",), websocket_url="ws://127.0.0.1:1")
    before = Settings(venues={"coinbase": venue})
    async with live(load("coinbase"), venue) as it:
        follower = Follower(it.collector, before, "coinbase")
        follower.apply(before.model_copy(update={"data_dir": Path("elsewhere")}))
        await until(lambda: it.events("config_change"))
        assert it.events("config_change")[0].message == "takes effect at the next start: data_dir"
        follower.apply(before.model_copy(update={"data_dir": Path("elsewhere"), "venues": {}}))
        await until(lambda: it.collector.status()["connections"] == [])
