from __future__ import annotations

import msgspec
import pytest
from websockets.frames import Opcode

from alphapulse.errors import RequestRefused
from gateway.v2.encoding import JSON, MSGPACK, chosen
from gateway.v2.messages import Heartbeat
from tests.fixtures.stream_v2 import decoded, payload_of


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_several_messages_share_a_frame(encoding: object) -> None:
    assert encoding in (JSON, MSGPACK)
    of = JSON if encoding is JSON else MSGPACK
    frame = of.frame([of.encode(Heartbeat(1)), of.encode(Heartbeat(2))])
    content = payload_of(frame)
    assert isinstance(content, str) is (of.opcode is Opcode.TEXT)
    assert decoded(content) == [{"type": "heartbeat", "time": 1}, {"type": "heartbeat", "time": 2}]


def test_the_first_known_subprotocol_is_taken() -> None:
    assert chosen([]) is JSON
    assert chosen(["mqtt", MSGPACK.name, JSON.name]) is MSGPACK
    assert chosen(["mqtt"]) is None


def test_messages_of_the_other_kind_are_refused() -> None:
    for encoding, text, data, code in (
        (JSON, None, b"{}", "not_text"),
        (JSON, "{", None, "bad_json"),
        (JSON, '["\\ud800"]', None, "bad_json"),
        (MSGPACK, "{}", None, "not_binary"),
        (MSGPACK, None, b"", "bad_msgpack"),
        (MSGPACK, None, b"\xc1", "bad_msgpack"),
        (MSGPACK, None, b"\x81\xa1\xff\x01", "bad_msgpack"),
        (MSGPACK, None, b"\x91" * 5000, "bad_msgpack"),
        (MSGPACK, None, b"\x80\x80", "bad_msgpack"),
        (MSGPACK, None, b"\x81\x80\xc0", "bad_msgpack"),  # a map as a key
        (MSGPACK, None, b"\x81\x91\x80\xc0", "bad_msgpack"),
        (MSGPACK, None, b"\x81\xa1a\xdd\xff\xff\xff\xff", "bad_msgpack"),  # a list of 2^32 - 1 items
        (MSGPACK, None, b"\x81\xa1a\xc7\x0c\xff" + b"\xff" * 12, "bad_msgpack"),  # a time beyond the calendar
    ):
        with pytest.raises(RequestRefused) as refused:
            encoding.decode(text, data)
        assert refused.value.code == code
    assert JSON.decode('{"a":1}', None) == MSGPACK.decode(None, msgspec.msgpack.encode({"a": 1})) == {"a": 1}
