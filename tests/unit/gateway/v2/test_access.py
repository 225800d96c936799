from __future__ import annotations

from gateway.access.identity import EVERYONE, Identity
from gateway.v2.access import OpenGate


def test_an_open_gate_admits_everybody() -> None:
    assert OpenGate().open
    assert OpenGate().identify("anything", "127.0.0.1") is EVERYONE


def test_scopes_are_of_channel_and_venue() -> None:
    one = Identity("desk", frozenset({"stream:book:kraken", "stream:trades:*"}))
    assert one.may_stream("book", "kraken")
    assert not one.may_stream("book", "coinbase")
    assert not one.may_stream("book", None)
    assert one.may_stream("trades", "coinbase")
