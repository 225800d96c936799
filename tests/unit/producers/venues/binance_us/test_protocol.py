from __future__ import annotations

import json

from alphapulse.config import VenueSettings
from producers.venues.binance_us import VENUE
from producers.venues.binance_us.messages import DepthUpdate
from producers.venues.binance_us.symbols import canonical_symbol, venue_symbol
from schemas.records import Trade
from tests.fixtures.protocol_run import ProtocolRun


def test_it_is_binances_protocol_under_its_own_name_and_addresses() -> None:
    run = ProtocolRun(VENUE.protocol(VenueSettings(symbols=("BTC-USD",))))
    data = {"e": "trade", "E": 1, "s": "BTCUSD", "t": 3, "p": "10", "q": "0.5", "T": 1723161255342, "m": True}
    run.frame(1, json.dumps({"stream": "btcusd@trade", "data": data}).encode())
    (trade,) = run.records
    assert isinstance(trade, Trade)
    assert (trade.venue, trade.symbol, trade.side) == ("binance_us", "BTC-USD", "SELL")
    assert VENUE.websocket_url == "wss://stream.binance.us:9443"
    assert VENUE.rest_url == "https://api.binance.us"
    assert DepthUpdate.__struct_fields__[:4] == ("E", "symbol", "U", "u")
    assert canonical_symbol(venue_symbol("BTC-USD")) == "BTC-USD"
