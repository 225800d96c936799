"""producers.venues.binance.server"""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.venues.binance.server import STREAMS_PER_CONNECTION, BinanceSession, stream_key

BOTH = "btcusdt@depth@100ms/btcusdt@trade"
COMBINED = b'{"stream":"btcusdt@trade","data":{"e":"trade",  "p":"1.00"}}'


def ask(session: BinanceSession, **message: Any) -> dict[str, Any]:
    (reply,) = session.received(json.dumps(message).encode(), 0).replies
    decoded: dict[str, Any] = json.loads(reply)
    return decoded


@pytest.fixture
def session() -> BinanceSession:
    return BinanceSession(["BTCUSDT"])


@pytest.mark.parametrize(
    ("stream", "key"),
    [
        ("btcusdt@depth", ("book", "BTCUSDT")),
        ("btcusdt@depth@100ms", ("book", "BTCUSDT")),
        ("btcusdt@depth5@100ms", ("depth5@100ms", "BTCUSDT")),
        ("btcusdt@trade", ("trades", "BTCUSDT")),
        ("btcusdt@aggTrade", ("trades", "BTCUSDT")),
        ("btcusdt@kline_1m", ("kline_1m", "BTCUSDT")),
    ],
)
def test_stream_key(stream: str, key: tuple[str, str]) -> None:
    assert stream_key(stream) == key


def test_the_address_subscribes(session: BinanceSession) -> None:
    answer = session.opened("/stream", {"streams": BOTH})
    assert [new.key for new in answer.added] == [("book", "BTCUSDT"), ("trades", "BTCUSDT")]
    assert answer.replies == []
    assert session.outgoing(COMBINED) is COMBINED


@pytest.mark.parametrize("path", ["/ws/" + BOTH, "/ws"])
def test_raw_streams_carry_the_data_alone(session: BinanceSession, path: str) -> None:
    answer = session.opened(path, {})
    assert len(answer.added) == (2 if "@" in path else 0)
    assert session.outgoing(COMBINED) == b'{"e":"trade",  "p":"1.00"}'
    assert session.outgoing(b"broken") == b"broken"


def test_an_address_names_no_more_streams_than_a_connection_carries(session: BinanceSession) -> None:
    names = [f"x{number}@trade" for number in range(STREAMS_PER_CONNECTION + 1)]
    assert len(session.opened("/stream", {"streams": "/".join(names)}).added) == STREAMS_PER_CONNECTION


def test_subscribe_list_unsubscribe(session: BinanceSession) -> None:
    session.opened("/stream", {})
    assert ask(session, method="SUBSCRIBE", params=BOTH.split("/"), id=1) == {"result": None, "id": 1}
    assert ask(session, method="SUBSCRIBE", params=["nope@depth"], id=2) == {"result": None, "id": 2}
    assert ask(session, method="LIST_SUBSCRIPTIONS", id="x") == {"result": [*BOTH.split("/"), "nope@depth"], "id": "x"}
    answer = session.received(b'{"method":"UNSUBSCRIBE","params":["btcusdt@trade","other@trade"],"id":3}', 0)
    assert [gone.key for gone in answer.removed] == [("trades", "BTCUSDT")]


def test_two_streams_of_one_feed_end_with_the_second(session: BinanceSession) -> None:
    session.opened("/stream", {"streams": "btcusdt@depth/btcusdt@depth@100ms"})
    assert session.received(b'{"method":"UNSUBSCRIBE","params":["btcusdt@depth"],"id":3}', 0).removed == []
    assert len(session.received(b'{"method":"UNSUBSCRIBE","params":["btcusdt@depth@100ms"],"id":4}', 0).removed) == 1


def test_properties(session: BinanceSession) -> None:
    session.opened("/ws", {})
    assert ask(session, method="GET_PROPERTY", params=["combined"], id=1) == {"result": False, "id": 1}
    assert ask(session, method="SET_PROPERTY", params=["combined", True], id=2) == {"result": None, "id": 2}
    assert session.outgoing(COMBINED) is COMBINED
    assert ask(session, method="SET_PROPERTY", params=["combined"], id=2)["error"]["code"] == 1
    assert ask(session, method="GET_PROPERTY", params=["colour"], id=2)["error"]["code"] == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", 3),
        (b'{"method":"SUBSCRIBE","params":[]}', 2),
        (b'{"method":"DANCE","id":1}', 2),
        (b'{"method":"SUBSCRIBE","params":"x","id":1}', 2),
        (b'{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
    ],
)
def test_wrong_requests_get_the_venues_codes(session: BinanceSession, message: bytes, code: int) -> None:
    (reply,) = session.received(message, 0).replies
    assert json.loads(reply)["error"]["code"] == code


def test_a_connection_has_so_many_streams_and_no_more(session: BinanceSession) -> None:
    names = [f"a{n}@depth" for n in range(1025)]
    assert ask(session, method="SUBSCRIBE", params=names, id=1)["error"]["code"] == 2
    assert "error" not in ask(session, method="SUBSCRIBE", params=names[:1024], id=1)
