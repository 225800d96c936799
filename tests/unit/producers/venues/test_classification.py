"""``classify`` of each venue's server.py, and producers.venue_server.frames"""

from __future__ import annotations

import pytest

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import dialect
from producers.venue_server.frames import FrameClass, rest_key


def advanced(channel: str, events: bytes) -> bytes:
    return b'{"channel":"%s","client_id":"","sequence_num":7,"events":[%s]}' % (channel.encode(), events)


FRAMES = [
    ("kraken", b'{"channel":"book","type":"update","data":[{"symbol":"A/B","bids":[]}]}', (("book", "A/B"),)),
    ("kraken", b'{"channel":"trade","data":[{"symbol":"A/B"},{"symbol":"A/B"}]}', (("trades", "A/B"),)),
    ("kraken", b'{"channel":"instrument","data":{"pairs":[]}}', (("instruments", ""),)),
    ("kraken", b'{"channel":"heartbeat"}', (("heartbeat", ""),)),
    ("kraken", b'{"method":"subscribe","success":true}', ()),
    ("kraken", b'{"error":"no","success":false}', ()),
    ("coinbase", b'{"type":"snapshot","product_id":"A-B","bids":[]}', (("book", "A-B"),)),
    ("coinbase", b'{"type":"l2update","product_id":"A-B"}', (("book", "A-B"),)),
    ("coinbase", b'{"type":"last_match","product_id":"A-B"}', (("trades", "A-B"),)),
    ("coinbase", b'{"type":"heartbeat","product_id":"A-B"}', (("heartbeats", "A-B"),)),
    ("coinbase", b'{"type":"ticker","product_id":"A-B"}', (("ticker", "A-B"),)),
    ("coinbase", b'{"type":"subscriptions","channels":[]}', ()),
    ("binance", b'{"stream":"abtc@depth@100ms","data":{"e":"depthUpdate","s":"ABTC"}}', (("book", "ABTC"),)),
    ("binance", b'{"stream":"abtc@depth","data":{"e":"depthUpdate","s":"ABTC"}}', (("book", "ABTC"),)),
    ("binance", b'{"stream":"abtc@aggTrade","data":{"e":"aggTrade","s":"ABTC"}}', (("trades", "ABTC"),)),
    ("binance", b'{"stream":"abtc@bookTicker","data":{"u":1,"s":"ABTC"}}', (("bookTicker", "ABTC"),)),
    ("binance", b'{"stream":"abtc@depth20","data":{"lastUpdateId":1}}', (("depth20", "ABTC"),)),
    ("binance", b'{"e":"trade","s":"ABTC"}', (("trades", "ABTC"),)),
    ("binance_us", b'{"u":1,"s":"ABTC","b":"1","B":"1","a":"2","A":"1"}', (("bookTicker", "ABTC"),)),
    ("binance", b'{"result":null,"id":1}', ()),
    ("okx", b'{"arg":{"channel":"books","instId":"A-B"},"data":[]}', (("book", "A-B"),)),
    ("okx", b'{"event":"subscribe","arg":{"channel":"books","instId":"A-B"}}', ()),
    ("okx", b"pong", ()),
    ("bitstamp", b'{"data":{},"channel":"diff_order_book_abusd","event":"data"}', (("book", "abusd"),)),
    ("bitstamp", b'{"data":{},"channel":"order_book_abusd","event":"data"}', (("order_book", "abusd"),)),
    ("bitstamp", b'{"data":{},"channel":"live_trades_abusd","event":"trade"}', (("trades", "abusd"),)),
    ("bitstamp", b'{"data":{},"channel":"live_orders_abusd","event":"order_deleted"}', (("live_orders", "abusd"),)),
    ("bitstamp", b'{"event":"bts:subscription_succeeded","channel":"diff_order_book_abusd"}', (("book", "abusd"),)),
    ("bitstamp", b'{"event":"bts:subscription_succeeded","channel":"live_trades_abusd"}', ()),
    ("bitstamp", b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}', ()),
    (
        "coinbase_advanced",
        advanced("l2_data", b'{"type":"update","product_id":"A-B","updates":[]}'),
        (("book", "A-B"),),
    ),
    (
        "coinbase_advanced",
        advanced("l2_data", b'{"product_id":"A-B"},{"product_id":"C-D"},{"product_id":"A-B"}'),
        (("book", "A-B"), ("book", "C-D")),
    ),
    (
        "coinbase_advanced",
        advanced("market_trades", b'{"trades":[{"product_id":"A-B"},{"product_id":"A-B"},{"product_id":"C-D"}]}'),
        (("trades", "A-B"), ("trades", "C-D")),
    ),
    ("coinbase_advanced", advanced("heartbeats", b'{"heartbeat_counter":1}'), (("heartbeats", ""),)),
    ("coinbase_advanced", advanced("subscriptions", b'{"subscriptions":{}}'), ()),
    ("coinbase_advanced", b'{"type":"error","message":"no"}', ()),
    ("alpaca", b'[{"T":"t","S":"A"},{"T":"q","S":"B"},{"T":"t","S":"A"}]', (("trades", "A"), ("quotes", "B"))),
    ("alpaca", b'[{"T":"c","S":"A"},{"T":"x","S":"A"}]', (("trades", "A"),)),
    ("alpaca", b'[{"T":"b","S":"A"},{"T":"u","S":"A"}]', (("bars", "A"), ("updatedBars", "A"))),
    ("alpaca", b'[{"T":"error","code":1},{"T":"q","S":"B"}]', (("quotes", "B"),)),
]

BROKEN = [
    ("kraken", b"{", "no JSON"),
    ("kraken", b"[1]", "unknown shape"),
    ("kraken", b"5", "unknown shape"),
    ("kraken", b'{"x":1}', "neither channel nor method"),
    ("kraken", b'{"channel":"book"}', "book without data"),
    ("kraken", b'{"channel":"book","data":{}}', "unknown shape"),
    ("kraken", b'{"channel":"book","data":[{"bids":[]}]}', "symbol"),
    ("kraken", b'\xff{"channel":"book"}', "no JSON"),
    ("coinbase", b'{"product_id":"A-B"}', "no type"),
    ("coinbase", b'{"type":"l2update"}', "l2update without product_id"),
    ("coinbase", b'{"type":7}', "unknown shape"),
    ("binance", b'{"stream":"abtc@depth"}', "stream without data"),
    ("binance", b'{"stream":"abtc@depth","data":{"e":"trade","s":"ABTC"}}', "carries trade of ABTC"),
    ("binance", b'{"stream":"abtc@trade","data":{"e":"trade","s":"XBTC"}}', "carries trade of XBTC"),
    ("binance", b'{"stream":"abtc@trade","data":{}}', "carries no event"),
    ("binance", b"{}", "neither stream nor event"),
    ("coinbase", b'{"rest":"/x"}', "answer to /x without body"),
    ("okx", b"{}", "neither event nor arg"),
    ("okx", b"[]", "unknown shape"),
    ("bitstamp", b'{"arg":{"channel":"books"}}', "no event"),
    ("bitstamp", b'{"event":"data","channel":""}', "data of no channel"),
    ("bitstamp", b'{"event":"trade","channel":"diff_order_book_abusd"}', "trade of diff_order_book_abusd"),
    ("coinbase_advanced", b'{"channel":"l2_data","events":[]}', "neither channel and sequence_num nor error"),
    ("coinbase_advanced", b'{"sequence_num":1}', "neither channel"),
    ("coinbase_advanced", b"[]", "unknown shape"),
    ("alpaca", b"{}", "unknown shape"),
    ("alpaca", b"\xff[]", "unknown shape"),
    ("alpaca", b'[{"T":"?","S":"A"}]', "unknown message type '\\?'"),
]


@pytest.mark.parametrize(("venue", "frame", "keys"), FRAMES)
def test_a_frame_belongs_to_its_subscriptions(venue: str, frame: bytes, keys: tuple[tuple[str, str], ...]) -> None:
    assert dialect(venue).classify(frame) == FrameClass(keys)


@pytest.mark.parametrize(
    ("frame", "levels"),
    [
        (b'{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":[{}],"asks":[{},{},{}]}]}', 3),
        (
            b'{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":[{}]},{"symbol":"C/D","asks":[1,2]}]}',
            2,
        ),
        (b'{"channel":"book","type":"snapshot","data":[{"symbol":"A/B"}]}', 0),
        (b'{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":7}]}', 0),
        (b'{"channel":"book","type":"update","data":[{"symbol":"A/B","bids":[{},{}]}]}', 0),
        (b'{"channel":"book","type":5,"data":[{"symbol":"A/B","bids":[{},{}]}]}', 0),
        (b'{"channel":"trade","type":"snapshot","data":[{"symbol":"A/B","bids":[{},{}]}]}', 0),
    ],
)
def test_a_kraken_snapshot_tells_how_many_levels_it_has(frame: bytes, levels: int) -> None:
    assert dialect("kraken").classify(frame).levels == levels


@pytest.mark.parametrize(
    ("frame", "depth"),
    [
        (b'{"method":"subscribe","success":true,"result":{"channel":"book","depth":25,"symbol":"A/B"}}', 25),
        (b'{"method":"subscribe","success":true,"result":{"channel":"trade","depth":25,"symbol":"A/B"}}', 0),
        (b'{"method":"unsubscribe","success":true,"result":{"channel":"book","depth":25}}', 0),
        (b'{"method":"subscribe","success":true,"result":{"channel":"book","depth":"many"}}', 0),
        (b'{"method":"subscribe","success":false,"error":"no"}', 0),
    ],
)
def test_a_kraken_answer_confirms_a_books_depth(frame: bytes, depth: int) -> None:
    assert dialect("kraken").classify(frame) == FrameClass(depth=depth)


@pytest.mark.parametrize(("venue", "frame", "reason"), BROKEN)
def test_a_frame_of_unknown_shape_is_refused_with_a_reason(venue: str, frame: bytes, reason: str) -> None:
    with pytest.raises(FrameRefused, match=reason):
        dialect(venue).classify(frame)


def test_what_was_said_to_the_recorder_alone_is_told_apart() -> None:
    classify = dialect("alpaca").classify
    for talk in (b'[{"T":"success","msg":"authenticated"}]', b'[{"T":"subscription","trades":["A"]}]', b"[]"):
        assert classify(talk) == FrameClass(conversation=True)
    assert not classify(b'[{"T":"success"},{"T":"t","S":"A"}]').conversation
    leave = b'{"event":"bts:request_reconnect","channel":"","data":""}'
    assert dialect("bitstamp").classify(leave) == FrameClass(conversation=True)


@pytest.mark.parametrize("venue", ["kraken", "coinbase", "binance", "binance_us"])
def test_a_rest_answer_keeps_its_body_byte_for_byte(venue: str) -> None:
    found = dialect(venue).classify(b'{"rest":"/api/v3/depth?symbol=abtc&limit=5","body":{"bids": [ ["1.0", "2"]]}}')
    assert found == FrameClass(rest=("/api/v3/depth", "ABTC"), body=b'{"bids": [ ["1.0", "2"]]}')


def test_a_request_may_name_its_market_in_the_path() -> None:
    found = dialect("bitstamp").classify(b'{"rest":"/api/v2/order_book/abusd/?group=1","body":{}}')
    assert found == FrameClass(rest=("/api/v2/order_book/abusd/", ""), body=b"{}")


def test_requests_differing_in_limit_are_the_same() -> None:
    assert rest_key("/d?limit=5&symbol=A") == rest_key("/d?symbol=A&limit=5000") == ("/d", "A")
    assert rest_key("/d") == ("/d", "")
