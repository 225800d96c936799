"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("BTC-USDT",))
FRAMES = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":5,"u":6,"b":[["9.0","1.0"]],"a":[]}}',
    b'{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":7,"u":8,"b":[["9.0","0.0"]],"a":[["12.00000000","1"]]}',
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":3,"p":"10","q":"0.5","T":1723161255342,"m":true,"M":true}}',
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":3,"p":"10","q":"0.5","T":1723161255342,"m":true}}',
    b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}',
    b'{"error":{"code":2,"msg":"Invalid request"},"id":1}',
)  # fmt: skip
ANSWER = b'{"lastUpdateId":6,"bids":[["10.00","1.0"]],"asks":[["11.00","2.0"]]}'

TELLS_REFUSALS = False  # a stream that the venue will not have stays silent
