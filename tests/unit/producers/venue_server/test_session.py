"""producers.venue_server.session and dialects"""

from __future__ import annotations

import pytest

from alphapulse.errors import ValueRefused
from producers.venue_server.dialects import dialect, served
from producers.venue_server.session import decode_object, timestamp


def test_timestamps_have_microseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(1_618_678_133_000_001_999) == "2021-04-17T16:48:53.000001Z"


@pytest.mark.parametrize("message", [b"", b"1", b"[{}]", b"{", b"\xff", b"[" * 100_000])
def test_only_objects_are_objects(message: bytes) -> None:
    assert decode_object(message) is None


@pytest.mark.parametrize("venue", served())
def test_no_message_breaks_a_session(venue: str) -> None:
    session = dialect(venue).session(["BTC/USD"])
    assert session.opened("/", {}).added == []
    for message in (
        b"{}",
        b'{"method":{}}',
        b'{"type":[]}',
        b'{"method":"subscribe","params":{"channel":"book","symbol":{"a":1}}}',
    ):
        assert session.received(message, 0).added == []
    assert session.heartbeat(0, idle=True) == []


def test_an_unknown_venue_is_named() -> None:
    with pytest.raises(ValueRefused, match=r"unknown venue: 'mtgox' \(known: .*kraken"):
        dialect("mtgox")
