from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from alphapulse.config import AccessSettings
from gateway.access import errors
from gateway.access.address import ClientAddress
from gateway.access.audit import GRANTED_SPACING_SECONDS, Audit
from gateway.access.errors import AccessRefused
from gateway.access.gate import MAX_ACCEPTED, MAX_CREDENTIALS, Gate, limit_headers
from gateway.access.identity import EVERYONE, Identity
from gateway.access.keys import NO_KEYS, ApiKey, ApiKeys
from gateway.access.limits import FREE_FAILURES
from gateway.access.signing_keys import SigningKeys, of_secret, of_set
from gateway.access.tokens import TokenRules, TokenVerifier
from gateway.access.visitor import Visitor
from schemas.records import Event
from tests.fixtures.issuer import AUDIENCE, ISSUER, SECRET, rsa, token

START = 1_800_000_000
HERE = ClientAddress("127.0.0.1", local=True)
THERE = ClientAddress("203.0.113.9", local=False)
DESK = Identity("desk-1", frozenset({"stream:book:kraken", "rest:market"}))


@dataclass
class Lodge:
    """A gate, its clock and its audit log."""

    settings: AccessSettings
    fetching: bool = False
    seconds: float = 0.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.signing = SigningKeys(fixed=() if self.fetching else (of_secret(SECRET),), fetching=self.fetching)
        audit = Audit("gateway", clock=self.clock, now=lambda: self.seconds, publish=self.events.append)
        tokens = TokenVerifier(TokenRules(ISSUER, AUDIENCE, 5, "scope"), self.signing, self.clock)
        self.gate = Gate(self.settings, audit, tokens=tokens, clock=self.clock, now=lambda: self.seconds)

    def clock(self) -> int:
        return int((START + self.seconds) * 10**9)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def token(self, **changed: Any) -> str:
        return token(**{"iat": START, "exp": START + 600} | changed)

    def key(self, name: str, *scopes: str, expires: int | None = None) -> str:
        self.gate.keys, text = self.gate.keys.created(name, scopes, self.clock(), expires)
        return text


def required(**settings: Any) -> Lodge:
    return Lodge(AccessSettings(mode="required", **settings))


def refused(code: str, call: Any, *args: Any) -> AccessRefused:
    with pytest.raises(AccessRefused) as found:
        call(*args)
    assert found.value.code == code, found.value
    return found.value


def test_open_everyone_is_let_in_without_credentials_and_wrong_ones_are_still_refused() -> None:
    lodge = Lodge(AccessSettings())
    assert lodge.gate.open
    assert lodge.gate.identify("", "203.0.113.9") is EVERYONE
    assert lodge.gate.identify(lodge.token(), "203.0.113.9").name == "desk-1"
    refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "apk_wrong", "203.0.113.9")


def test_required_credentials_are_asked_for() -> None:
    lodge = required()
    assert not lodge.gate.open
    found = refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "", "203.0.113.9")
    assert "Authorization: Bearer" in str(found)
    assert (found.status, found.close_code.number) == (401, 3000)
    assert found.headers["WWW-Authenticate"] == 'Bearer realm="alphapulse"'


def test_too_long_credentials_are_not_looked_at() -> None:
    refused(errors.UNAUTHORIZED_CODE, required().gate.identify, "x" * (MAX_CREDENTIALS + 1), "203.0.113.9")


def test_tokens_where_none_are_accepted() -> None:
    gate = Gate(AccessSettings(mode="required"), Audit("gateway", clock=lambda: 0, now=lambda: 0.0))
    found = refused(errors.UNAUTHORIZED_CODE, gate.identify, token(), "203.0.113.9")
    assert "tokens are not accepted" in str(found)


def test_a_key_identifies_until_it_is_revoked() -> None:
    lodge = required()
    text = lodge.key("desk-7", "rest:market")
    desk = lodge.gate.identify(text, "203.0.113.9")
    assert desk.name == "desk-7"
    assert desk.scopes == {"rest:market"}
    lodge.gate.check(desk)
    lodge.gate.keys = lodge.gate.keys.revoked("desk-7", lodge.clock())
    for call in (lambda: lodge.gate.check(desk), lambda: lodge.gate.identify(text, "203.0.113.9")):
        found = refused(errors.KEY_REVOKED, call)
        assert (found.status, found.close_code.number) == (401, 3003)


def test_a_key_that_is_no_longer_in_the_file_is_revoked() -> None:
    lodge = required()
    desk = lodge.gate.identify(lodge.key("desk-7", "rest:market"), "203.0.113.9")
    lodge.gate.keys = NO_KEYS
    refused(errors.KEY_REVOKED, lodge.gate.check, desk)


@pytest.mark.parametrize(
    "changed",
    [{"scopes": ("rest:market",)}, {"expires": (START + 60) * 10**9}, {"name": "desk-8"}],
    ids=lambda it: str(*it),
)
def test_a_stream_does_not_keep_what_the_file_has_taken_from_its_key(changed: dict[str, Any]) -> None:
    lodge = required()
    text = lodge.key("desk-7", "rest:market", "stream:*:*")
    visitor = Visitor(lodge.gate, lodge.gate.identify(text, "203.0.113.9"), THERE)
    lodge.gate.keys = ApiKeys(lodge.gate.keys.keys)
    visitor.check()
    (key,) = lodge.gate.keys.keys
    lodge.gate.keys = ApiKeys((ApiKey.model_validate(key.model_dump() | changed),))
    assert "changed" in str(refused(errors.KEY_REVOKED, visitor.check))
    visitor.identify(text)
    visitor.check()
    assert visitor.identity == lodge.gate.keys.keys[0].identity


def test_access_ends_when_key_or_token_expires() -> None:
    lodge = required()
    text, bearer = lodge.key("desk-7", "rest:market", expires=(START + 60) * 10**9), lodge.token(exp=START + 55)
    found = [lodge.gate.identify(each, "203.0.113.9") for each in (text, bearer)]
    lodge.seconds = 59.9
    for identity in found:
        lodge.gate.check(identity)
    assert lodge.gate.identify(bearer, "203.0.113.9") == found[1]
    lodge.seconds = 60
    for identity in found:
        expired = refused(errors.TOKEN_EXPIRED, lodge.gate.check, identity)
        assert (expired.close_code.number, expired.close_code.reason) == (3000, "token expired")
    for each in (text, bearer):
        refused(errors.TOKEN_EXPIRED, lodge.gate.identify, each, "203.0.113.9")


def test_a_signature_is_not_verified_again_until_keys_change() -> None:
    lodge = Lodge(AccessSettings(mode="required"), fetching=True)
    lodge.signing.fetched = of_set(key_set())
    text = token(rsa(), iat=START, exp=START + 600)
    assert lodge.gate.identify(text, "203.0.113.9").name == "desk-1"
    lodge.signing.fetched = ()
    assert lodge.gate.identify(text, "203.0.113.9").name == "desk-1"
    lodge.gate.forget()
    refused(errors.UNKNOWN_SIGNING_KEY, lodge.gate.identify, text, "203.0.113.9")


def key_set() -> bytes:
    import json

    return json.dumps({"keys": [rsa().as_dict(private=False)]}).encode()


def test_what_is_remembered_is_bounded() -> None:
    lodge = required()
    for number in range(MAX_ACCEPTED + 5):
        lodge.gate._accepted[number.to_bytes(4)] = EVERYONE
    lodge.gate.identify(lodge.token(), "203.0.113.9")
    lodge.gate.identify(lodge.token(sub="2"), "203.0.113.9")
    assert len(lodge.gate._accepted) <= MAX_ACCEPTED + 5


async def test_a_token_with_an_unknown_signing_key_waits_for_the_keys() -> None:
    lodge = Lodge(AccessSettings(mode="required"), fetching=True)
    text, asked = token(rsa(), iat=START, exp=START + 600), []

    async def refresh() -> bool:
        asked.append(1)
        lodge.signing.fetched = of_set(key_set())
        return len(asked) < 3

    lodge.gate.refresh = refresh
    assert (await lodge.gate.arrive(text, "203.0.113.9")).name == "desk-1"
    assert lodge.kinds == ["access_granted"]
    with pytest.raises(AccessRefused, match="rsa-1"):
        await lodge.gate.arrive(token(rsa(1), iat=START, exp=START + 600), "203.0.113.9")
    with pytest.raises(AccessRefused, match="rsa-1"):
        await lodge.gate.arrive(token(rsa(1), iat=START, exp=START + 600), "203.0.113.9")
    assert len(asked) == 3


def test_after_failures_the_address_pauses_but_not_those_with_valid_credentials() -> None:
    lodge = required()
    text = lodge.key("desk-7", "rest:market")
    for _ in range(FREE_FAILURES + 1):
        refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "apk_wrong", "2001:db8::1")
    for wrong in ("apk_wrong", "no token", token("x" * 40), lodge.token(exp=START - 60), lodge.token(aud="other")):
        found = refused(errors.RATE_LIMITED, lodge.gate.identify, wrong, "2001:db8::2")
        assert (found.status, found.headers["Retry-After"], found.retry_after_ms) == (429, "1", 1000)
        assert str(found) == "too many failed authentications from 2001:db8::2; pause for 1 s"
    assert lodge.gate.identify(text, "2001:db8::1").name == "desk-7", "neither was seen before"
    assert lodge.gate.identify(lodge.token(), "2001:db8::1").name == "desk-1"
    assert lodge.gate.identify(lodge.token(sub="desk-2"), "203.0.113.10").name == "desk-2", "another address"
    lodge.seconds = 1
    refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "apk_wrong", "2001:db8::1")
    assert refused(errors.RATE_LIMITED, lodge.gate.identify, "apk_wrong", "2001:db8::1").retry_after == 2


def test_asking_without_credentials_is_no_failure() -> None:
    lodge = required()
    for _ in range(20):
        refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "", "203.0.113.9")
    assert lodge.gate.identify(lodge.token(), "203.0.113.9")


def test_what_is_not_in_the_scopes_is_forbidden_and_named() -> None:
    gate = required().gate
    gate.stream(DESK, "book", "kraken", "203.0.113.9")
    gate.call(DESK, "rest:market", "203.0.113.9")
    found = refused(errors.FORBIDDEN_CODE, gate.stream, DESK, "book", "okx", "203.0.113.9")
    assert str(found) == "desk-1 has no scope stream:book:okx"
    assert (found.status, found.close_code.number) == (403, 3003)
    assert 'error="insufficient_scope"' in found.headers["WWW-Authenticate"]
    assert "stream:arbitrage:*" in str(refused(errors.FORBIDDEN_CODE, gate.stream, DESK, "arbitrage", None, "a"))
    refused(errors.FORBIDDEN_CODE, gate.call, DESK, "admin:symbols", "203.0.113.9")


def test_requests_are_limited_by_identity_everywhere_and_by_address_unless_it_is_ours() -> None:
    gate = required(requests_per_second=1, request_burst=3).gate
    for _ in range(3):
        gate.request(DESK, HERE)
    found = refused(errors.RATE_LIMITED, gate.request, DESK, HERE)
    assert found.headers["RateLimit-Limit"] == "3"
    assert found.headers["RateLimit-Remaining"] == "0"
    assert found.headers["Retry-After"] == "1"
    refused(errors.RATE_LIMITED, gate.request, DESK, THERE)
    assert gate.request(EVERYONE, HERE).limit == 0
    assert limit_headers(gate.request(EVERYONE, HERE)) == {}
    other = ClientAddress("203.0.113.10", local=False)
    assert [gate.request(EVERYONE, other).remaining for _ in range(3)] == [2, 1, 0]
    refused(errors.RATE_LIMITED, gate.request, EVERYONE, other)


def test_an_arrival_is_charged_to_its_address_once() -> None:
    gate = required(requests_per_second=1, request_burst=3).gate
    for remaining in (2, 1, 0):
        arrival = gate.arrival(THERE)
        assert arrival.remaining == remaining
        assert gate.request(EVERYONE, THERE, arrival) == arrival
    found = refused(errors.RATE_LIMITED, gate.arrival, THERE)
    assert found.headers["RateLimit-Limit"] == "3"
    assert gate.request(DESK, HERE, gate.arrival(HERE)).remaining == 2


def test_messages_have_a_limit_of_their_own() -> None:
    gate = required(request_burst=1, message_burst=2).gate
    assert gate.request(DESK, THERE).remaining == 0
    assert [gate.message(DESK, THERE).remaining for _ in range(2)] == [1, 0]
    refused(errors.RATE_LIMITED, gate.message, DESK, THERE)


def test_connections_of_an_identity_are_limited_and_come_free_once() -> None:
    gate = required(connections_per_identity=2).gate
    first, _ = gate.admit_identity(DESK, "203.0.113.9"), gate.admit_identity(DESK, "127.0.0.1")
    found = refused(errors.CONNECTION_LIMITED, gate.admit_identity, DESK, "127.0.0.1")
    assert (found.status, found.close_code.number) == (429, 3013)
    first.release()
    first.release()
    gate.admit_identity(DESK, "203.0.113.9")
    refused(errors.CONNECTION_LIMITED, gate.admit_identity, DESK, "203.0.113.9")
    for _ in range(20):
        gate.admit_identity(EVERYONE, "203.0.113.9")


def test_connections_of_an_address_are_limited_unless_it_is_ours() -> None:
    gate = required(connections_per_address=2).gate
    first, _ = gate.admit_address(THERE), gate.admit_address(THERE)
    assert "203.0.113.9" in str(refused(errors.CONNECTION_LIMITED, gate.admit_address, THERE))
    first.release()
    gate.admit_address(THERE)
    for _ in range(20):
        gate.admit_address(HERE)


def test_a_refused_visitor_holds_no_place() -> None:
    gate = required(connections_per_identity=1, connections_per_address=2).gate
    visitor = Visitor(gate, DESK, THERE)
    for _ in range(5):
        refused(errors.CONNECTION_LIMITED, Visitor, gate, DESK, THERE)
    visitor.leave()
    visitor.leave()
    assert Visitor(gate, DESK, THERE)


def test_a_visitor_may_say_later_who_he_is_and_refresh_his_token() -> None:
    lodge = required(connections_per_identity=1)
    visitor = Visitor(lodge.gate, None, THERE)
    refused(errors.UNAUTHORIZED_CODE, visitor.stream, "book", "kraken")
    visitor.check()
    first = visitor.identify(lodge.token(exp=START + 10))
    assert first.name == "desk-1"
    visitor.stream("book", "kraken")
    assert visitor.identify(lodge.token(exp=START + 100)).expires == (START + 105) * 10**9
    refused(errors.CONNECTION_LIMITED, Visitor, lodge.gate, first, HERE)
    lodge.seconds = 50
    visitor.check()
    refused(errors.TOKEN_EXPIRED, visitor.identify, lodge.token(exp=START + 10))
    visitor.check()
    assert visitor.identify(lodge.token(sub="desk-2", exp=START + 100)).name == "desk-2"
    assert Visitor(lodge.gate, first, HERE), "his place as desk-1 is free"


def test_a_visitor_holds_a_place_until_he_leaves() -> None:
    lodge = required(connections_per_identity=1)
    visitor = Visitor(lodge.gate, DESK, HERE)
    refused(errors.CONNECTION_LIMITED, Visitor, lodge.gate, DESK, HERE)
    visitor.stream("book", "kraken")
    refused(errors.FORBIDDEN_CODE, visitor.stream, "book", "okx")
    visitor.message()
    visitor.check()
    visitor.leave()
    assert Visitor(lodge.gate, DESK, HERE)


def test_the_audit_log_has_who_was_let_in_and_who_was_not() -> None:
    lodge = required(request_burst=1)
    desk = lodge.gate.identify(lodge.token(), "203.0.113.9")
    refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "apk_canary", "203.0.113.8")
    refused(errors.FORBIDDEN_CODE, lodge.gate.call, desk, "admin:symbols", "203.0.113.9")
    lodge.gate.request(desk, HERE)
    refused(errors.RATE_LIMITED, lodge.gate.request, desk, HERE)
    assert lodge.kinds == ["access_granted", "access_refused", "access_forbidden", "access_limited"]
    granted, wrong, forbidden, limited = lodge.events
    assert granted.details == {"action": "granted", "identity": "desk-1", "address": "203.0.113.9"}
    assert wrong.details == {"action": "refused", "address": "203.0.113.8", "code": "unauthorized"}
    assert forbidden.message == "desk-1 has no scope admin:symbols"
    assert limited.details["code"] == "rate_limited"
    assert {event.severity for event in lodge.events} == {"INFO"}
    assert not any("canary" in repr(event) for event in lodge.events)


def test_repetitions_are_counted_instead_of_written() -> None:
    lodge = required()
    for _ in range(4):
        refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "", "203.0.113.8")
    refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "", "203.0.113.7")
    assert len(lodge.events) == 2
    lodge.seconds = 1
    refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "", "203.0.113.8")
    assert lodge.events[-1].details["left_out"] == "3"
    for second in (2, 3, 2 + GRANTED_SPACING_SECONDS):
        lodge.seconds = second
        lodge.gate.identify(lodge.token(), "203.0.113.8")
    assert lodge.kinds.count("access_granted") == 2


def test_repetitions_are_counted_for_a_whole_network() -> None:
    lodge = required()
    text = lodge.token()
    for number in range(20):
        refused(errors.UNAUTHORIZED_CODE, lodge.gate.identify, "", f"2001:db8::{number}")
        lodge.gate.identify(text, f"2001:db8::{number}")
    assert sorted(lodge.kinds) == ["access_granted", "access_refused"]


def test_credentials_that_were_not_made_up_cost_no_pause() -> None:
    lodge = Lodge(AccessSettings(mode="required"), fetching=True)
    for _ in range(20):
        refused(errors.UNKNOWN_SIGNING_KEY, lodge.gate.identify, token(rsa()), "203.0.113.9")
    lodge.signing.fetched = of_set(key_set())
    for _ in range(20):
        refused(errors.TOKEN_EXPIRED, lodge.gate.identify, token(rsa(), iat=START, exp=START - 60), "203.0.113.9")
    assert lodge.gate.identify(token(rsa(), iat=START, exp=START + 60), "203.0.113.9")
