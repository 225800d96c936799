"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("BTC-USD",))
FRAMES = (
    b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10.00","1"]],"asks":[["11.00","2.5"]]}',
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","9.00","0.00"],["sell","12","1"]],"time":"2021-04-17T16:43:37.075351Z"}',
    b'{"type":"match","trade_id":5,"side":"sell","size":"0.04","price":"14.77","product_id":"BTC-USD","time":"2021-04-17T16:43:30.244075Z"}',
    b'{"type":"subscriptions","channels":[{"name":"level2_batch","product_ids":["BTC-USD"]}]}',
    b'{"type":"error","message":"Failed","reason":"no"}',
)  # fmt: skip

DETECTS_LOSS = False
