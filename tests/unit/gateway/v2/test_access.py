from __future__ import annotations

import pytest

from gateway.access.identity import EVERYONE, Identity
from gateway.v2.access import OpenGate, credentials_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("", None), ("Basic YTpi", None), ("Bearer", None), ("Bearer  ", None), ("bearer abc ", "abc")],
)
def test_credentials_are_a_bearer_token(header: str | None, expected: str | None) -> None:
    assert credentials_of(header) == expected


def test_an_open_gate_admits_everybody() -> None:
    assert OpenGate().open
    assert OpenGate().identify("anything", "127.0.0.1") is EVERYONE


def test_scopes_are_of_channel_and_venue() -> None:
    one = Identity("desk", frozenset({"stream:book:kraken", "stream:trades:*"}))
    assert one.may_stream("book", "kraken")
    assert not one.may_stream("book", "coinbase")
    assert not one.may_stream("book", None)
    assert one.may_stream("trades", "coinbase")
