from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.identity import EVERYONE, FIXED, MAX_SCOPES, BadScope, Identity, check_scope, scopes_of
from gateway.channels import CHANNELS

names = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)


def identity(*scopes: str) -> Identity:
    return Identity("desk", scopes_of(scopes))


def test_a_scope_opens_its_channel_of_its_venue_only() -> None:
    desk = identity("stream:book:kraken")
    assert desk.may_stream("book", "kraken")
    assert not desk.may_stream("book", "coinbase")
    assert not desk.may_stream("trades", "kraken")
    assert not desk.may_stream("book", None)


def test_a_star_stands_for_any_channel_or_any_venue() -> None:
    assert identity("stream:*:kraken").may_stream("trades", "kraken")
    assert not identity("stream:*:kraken").may_stream("trades", "okx")
    assert identity("stream:book:*").may_stream("book", "okx")
    assert identity("stream:*:*").may_stream("stats", "okx")


def test_what_spans_venues_is_closed_to_those_restricted_to_some() -> None:
    assert identity("stream:arbitrage:*").may_stream("arbitrage", None)
    assert not identity("stream:arbitrage:kraken").may_stream("arbitrage", None)
    assert not identity("stream:*:kraken").may_stream("arbitrage", None)


def test_rest_scopes() -> None:
    assert identity("rest:market").may_call("rest:market")
    assert not identity("rest:market").may_call("rest:history")
    assert all(identity("rest:*").may_call(each) for each in ("rest:market", "rest:system", "rest:history"))
    assert not identity("rest:*").may_call("admin:symbols")
    assert identity("admin:symbols").may_call("admin:symbols")


def test_everyone_reads_everything_and_changes_nothing() -> None:
    assert all(EVERYONE.may_stream(channel, None) for channel in CHANNELS)
    assert EVERYONE.may_call("rest:history")
    assert not EVERYONE.may_call("admin:symbols")


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "*",
        "stream",
        "stream:book",
        "stream:book:kraken:x",
        "stream:Book:kraken",
        "stream:bin*:okx",
        "stream::okx",
        "rest",
        "rest:",
        "rest:orders",
        "admin:*",
        "admin:keys",
        " rest:market",
        "rest:market\n",
        "stream:book:krakén",
    ],
)
def test_a_malformed_scope_is_named(scope: str) -> None:
    with pytest.raises(BadScope) as refused:
        check_scope(scope)
    assert refused.value.scope == scope
    assert repr(scope) in str(refused.value)


def test_there_is_a_limit_to_scopes() -> None:
    assert len(scopes_of(f"stream:book:v{n}" for n in range(MAX_SCOPES))) == MAX_SCOPES
    with pytest.raises(BadScope, match=f"at most {MAX_SCOPES}"):
        scopes_of(f"stream:book:v{n}" for n in range(MAX_SCOPES + 1))


@given(names, names, names, names)
def test_a_scope_opens_exactly_what_it_names(channel: str, venue: str, other_channel: str, other_venue: str) -> None:
    desk = identity(f"stream:{channel}:{venue}", *FIXED)
    assert desk.may_stream(channel, venue)
    assert desk.may_stream(other_channel, other_venue) == ((channel, venue) == (other_channel, other_venue))
