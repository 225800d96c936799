"""producers.simulator.liquidity"""

from __future__ import annotations

import pytest

from producers.registry import names
from producers.simulator.liquidity import VenueMarket, liquidity, venue_market, volatility

LEADING = venue_market("binance")


def test_every_venue_has_a_market() -> None:
    for venue in names():
        market = venue_market(venue)
        assert 0 <= market.latency_ns[0] <= market.latency_ns[1] < 500_000_000
    assert venue_market("okx") != VenueMarket()


def test_what_is_thinner_has_a_wider_spread_and_greater_gaps() -> None:
    shapes = [liquidity(symbol, LEADING) for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT", "ETH-BTC", "XMR-CHF")]
    assert [shape.spread for shape in shapes] == sorted(shape.spread for shape in shapes)
    assert [shape.gap for shape in shapes] == sorted(shape.gap for shape in shapes)
    assert [shape.notional for shape in shapes] == sorted((shape.notional for shape in shapes), reverse=True)


def test_the_ends_of_the_scale_are_those_of_the_recordings() -> None:
    liquid, thin = liquidity("BTC-USDT", LEADING), liquidity("XMR-USD", venue_market("kraken"))
    assert liquid.spread < 0.0016e-4  # a tick
    assert 5e-4 < thin.spread < 30e-4
    assert liquid.gap == pytest.approx(0.05e-4)
    assert 1e-4 < thin.gap < 4e-4


def test_a_thin_venue_adds_to_any_symbol() -> None:
    for symbol in ("BTC-USD", "NEVERHEARD-USD", "USDT-USD", "AAPL"):
        assert liquidity(symbol, venue_market("binance_us")).spread > liquidity(symbol, LEADING).spread
    assert liquidity("NEVERHEARD-USD", LEADING) == liquidity("NEVERHEARD-USD", LEADING)


def test_volatility_is_greater_for_smaller_assets_and_least_between_currencies() -> None:
    assert volatility("USDT-USD") < volatility("BTC-USD") < volatility("SOL-USD") < volatility("NEVERHEARD-USD") < 3e-4
