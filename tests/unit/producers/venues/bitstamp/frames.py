"""One of each message; see :mod:`tests.fixtures.venue_samples`."""

from __future__ import annotations

from alphapulse.config import VenueSettings

SETTINGS = VenueSettings(symbols=("BTC-USD",))
FRAMES = (
    b'{"data":{"timestamp":"1580336904","microtimestamp":"1580336904228758","bids":[["9317.09","2.67910000"],["9296.14","0.00000000"]],"asks":[["9333.85","0.00000000"],["9339.20","0.20000000"]]},"event":"data","channel":"diff_order_book_btcusd"}',
    b'{"data":{"timestamp":"1580336905","microtimestamp":"1580336905228760","bids":[["9316","1"]],"asks":[]},"event":"data","channel":"diff_order_book_btcusd"}',
    b'{"data":{"id":85658352,"timestamp":"1555135143","amount":0.00158473,"amount_str":"0.00158473","price":5112.85,"price_str":"5112.85","type":1,"microtimestamp":"1555135143665724","buy_order_id":3126671009,"sell_order_id":3126671156},"event":"trade","channel":"live_trades_btcusd"}',
    b'{"event":"bts:subscription_succeeded","channel":"diff_order_book_btcusd","data":{}}',
    b'{"event":"bts:unsubscription_succeeded","channel":"live_trades_btcusd","data":{}}',
    b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}',
    b'{"event":"bts:request_reconnect","channel":"","data":""}',
    b'{"event":"bts:error","channel":"","data":{"code":null,"message":"Invalid channel provided."}}',
    b'{"data":{"timestamp":"1","microtimestamp":"1","bids":[],"asks":[]},"event":"data","channel":"order_book_btcusd"}',
    b'{"data":{"id":1,"amount_str":"1","price_str":"2","order_type":0},"event":"order_created","channel":"live_orders_btcusd"}',
)  # fmt: skip
ANSWER = (
    b'{"timestamp":"1580336904","microtimestamp":"1580336904228758","bids":[["9317.09","2.67910000"],["9310","1"]],"asks":[["9339.20","0.20000000"]]}'
)  # fmt: skip
DETECTS_LOSS = False
