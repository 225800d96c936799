"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("BTC-USD",))
FRAMES = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","price_precision":1,"qty_precision":8}]}}',
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.10000000}],"asks":[{"price":45285.2,"qty":0.00100000}],"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.4,"qty":1e-8}],"asks":[],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45283.4,"qty":0.5,"ord_type":"limit","trade_id":1,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    b'{"channel":"book","type":"update","data":[{"symbol":"ETH/USD","bids":[],"asks":[]},{"symbol":"BTC/USD","bids":[{"price":45283.4,"qty":1}],"asks":[]}]}',
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":45283.4,"qty":0.5,"trade_id":2,"timestamp":"2023-10-06T17:35:55Z"},{"symbol":"BTC/USD","side":"buy","price":45283.5,"qty":1,"trade_id":3,"timestamp":"2023-10-06T17:35:55Z"}]}',
    b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD","depth":10},"success":true,"time_in":"x"}',
    b'{"error":"Currency pair not supported","method":"subscribe","success":false,"symbol":"X/Y"}',
)  # fmt: skip

DETECTS_LOSS = False  # its checksum covers the ten best levels
