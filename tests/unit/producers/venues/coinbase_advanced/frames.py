# ruff: noqa: E501 frames in one line, as they come
"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("BTC-USD",))
FRAMES = (
    b'{"channel":"l2_data","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":0,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"21921.73","new_quantity":"0.06317902"},{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"21921.75","new_quantity":"0.02"}]}]}',
    b'{"channel":"l2_data","timestamp":"2023-02-09T20:32:50.814964855Z","sequence_num":1,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2023-02-09T20:32:50Z","price_level":"21921.73","new_quantity":"0"},{"side":"bid","event_time":"2023-02-09T20:32:50Z","price_level":"21921.3","new_quantity":"1"}]}]}',
    b'{"channel":"market_trades","timestamp":"2023-02-09T20:19:35.39625135Z","sequence_num":2,"events":[{"type":"snapshot","trades":[{"trade_id":"12","product_id":"BTC-USD","price":"1260.01","size":"0.3","side":"BUY","time":"2019-08-14T20:42:27.265Z"},{"trade_id":"11","product_id":"BTC-USD","price":"1260","size":"1","side":"SELL","time":"2019-08-14T20:42:27.165Z"}]}]}',
    b'{"channel":"l2_data","timestamp":"2023-02-09T20:32:50.914964855Z","sequence_num":3,"events":[{"type":"update","product_id":"ETH-USD","updates":[]},{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2023-02-09T20:32:50Z","price_level":"21922","new_quantity":"2"}]}]}',
    b'{"channel":"heartbeats","timestamp":"2023-06-23T20:31:26.122969572Z","sequence_num":4,"events":[{"current_time":"2023-06-23 20:31:56.121961769 +0000 UTC m=+91717.525857105","heartbeat_counter":3049}]}',
    b'{"channel":"subscriptions","timestamp":"2023-06-23T20:31:26.122969572Z","sequence_num":5,"events":[{"subscriptions":{"level2":["BTC-USD"]}}]}',
    b'{"type":"error","message":"authentication failure"}',
)  # fmt: skip
