from __future__ import annotations

import base64
import json
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, RSAKey

from alphapulse.errors import ServiceError
from gateway.access import errors
from gateway.access.errors import AccessRefused
from gateway.access.signing_keys import SigningKeys, of_pem, of_secret, of_set
from gateway.access.tokens import TokenRules, TokenVerifier
from tests.fixtures.issuer import AUDIENCE, ISSUER, SECRET, claims, ec, forged, rsa, token

RULES = TokenRules(ISSUER, AUDIENCE, 5, "scope")


def verifier(*, clock: Any = time.time_ns, scope_claim: str = "scope", **keys: Any) -> TokenVerifier:
    return TokenVerifier(TokenRules(ISSUER, AUDIENCE, 5, scope_claim), SigningKeys(**keys), clock)


def public(key: RSAKey | ECKey) -> bytes:
    return key.as_pem(private=False)


def weak() -> RSAKey:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return RSAKey.generate_key(1024)


HS = verifier(fixed=(of_secret(SECRET),))
RS = verifier(fixed=(of_pem(public(rsa()), "pem"),))
ES = verifier(fixed=(of_pem(public(ec()), "pem"),))


def refused(verifier: TokenVerifier, text: str) -> AccessRefused:
    with pytest.raises(AccessRefused) as found:
        verifier.verify(text)
    if len(text) > 12:
        assert text not in str(found.value)
        assert not any(part in str(found.value) for part in text.split(".") if len(part) > 12)
    return found.value


@pytest.mark.parametrize(("verifier", "key"), [(HS, SECRET), (RS, rsa()), (ES, ec())], ids=["HS256", "RS256", "ES256"])
def test_a_valid_token_is_an_identity(verifier: TokenVerifier, key: Any) -> None:
    found = verifier.verify(token(key, exp=2_000_000_000, scope="openid rest:market stream:book:kraken"))
    assert found.name == "desk-1"
    assert found.scopes == {"rest:market", "stream:book:kraken"}
    assert found.expires == (2_000_000_000 + 5) * 10**9
    assert found.key is None


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"exp": 1_000}, errors.TOKEN_EXPIRED, "claim exp: expired"),
        ({"exp": None}, errors.BAD_CLAIM, "claim exp: missing"),
        ({"exp": "soon"}, errors.BAD_CLAIM, "claim exp: invalid"),
        ({"exp": True}, errors.BAD_CLAIM, "claim exp: invalid"),
        ({"nbf": 4_000_000_000}, errors.TOKEN_NOT_YET_VALID, "claim nbf: valid in"),
        ({"nbf": float("inf")}, errors.TOKEN_NOT_YET_VALID, "claim nbf: valid in"),
        ({"nbf": float("nan")}, errors.BAD_CLAIM, "claim nbf: invalid"),
        ({"exp": -int("9" * 4300)}, errors.TOKEN_EXPIRED, "claim exp: expired"),
        ({"iat": 4_000_000_000}, errors.TOKEN_NOT_YET_VALID, "claim iat: issued in the future"),
        ({"iss": "https://evil.example"}, errors.WRONG_ISSUER, "claim iss: expected 'https://login.example'"),
        ({"iss": None}, errors.BAD_CLAIM, "claim iss: missing"),
        ({"aud": "another"}, errors.WRONG_AUDIENCE, "claim aud: expected 'alphapulse', found 'another'"),
        ({"aud": ["a", "b"]}, errors.WRONG_AUDIENCE, "claim aud"),
        ({"aud": None}, errors.BAD_CLAIM, "claim aud: missing"),
        ({"sub": None}, errors.BAD_CLAIM, "claim sub: missing"),
        ({"sub": "a\nb"}, errors.BAD_CLAIM, "claim sub: expected"),
        ({"sub": "x" * 300}, errors.BAD_CLAIM, "claim sub: expected"),
        ({"scope": "stream:book"}, errors.BAD_CLAIM, "claim scope: scope 'stream:book': unknown"),
        ({"scope": ["rest:market", "rest:all"]}, errors.BAD_CLAIM, "'rest:all'"),
        ({"scope": 5}, errors.BAD_CLAIM, "claim scope: expected text or a list"),
        ({"scope": [5]}, errors.BAD_CLAIM, "claim scope: expected text or a list"),
    ],
)
def test_a_wrong_claim_is_named(changed: dict[str, Any], code: str, said: str) -> None:
    found = refused(RS, token(rsa(), **changed))
    assert found.code == code
    assert said in str(found)
    assert found.status == 401


@pytest.mark.parametrize("exp", [1e300, 10**400, 2**63])
def test_the_far_future_is_the_latest_time_there_is(exp: float) -> None:
    assert RS.verify(token(rsa(), exp=exp)).expires == 2**63 - 1


def test_one_of_several_audiences_is_enough() -> None:
    assert RS.verify(token(rsa(), aud=["other", AUDIENCE]))


def test_without_scopes_nothing_is_open() -> None:
    assert RS.verify(token(rsa(), scope=None)).scopes == frozenset()


def test_scopes_may_be_in_another_claim_and_a_list() -> None:
    found = verifier(fixed=(of_secret(SECRET),), scope_claim="permissions").verify(
        token(permissions=["rest:market"], scope="rest:*")
    )
    assert found.scopes == {"rest:market"}


@given(st.integers(-20, 20))
def test_leeway_holds_on_both_sides(seconds: int) -> None:
    now = 1_800_000_000
    checked = verifier(clock=lambda: now * 10**9, fixed=(of_secret(SECRET),))
    for name, valid in (("exp", seconds > -5), ("nbf", seconds <= 5)):
        times: dict[str, Any] = {"iat": now, "exp": now + 1000} | {name: now + seconds}
        text = token(**times)
        if valid:
            assert checked.verify(text).name == "desk-1"
        else:
            refused(checked, text)


def test_the_end_of_the_access_is_the_moment_from_which_the_token_is_refused() -> None:
    exp = 1_800_000_000
    text = token(iat=exp - 60, exp=exp)
    end = verifier(clock=lambda: exp * 10**9 - 1, fixed=(of_secret(SECRET),)).verify(text).expires
    assert end is not None
    assert verifier(clock=lambda: end - 1, fixed=(of_secret(SECRET),)).verify(text)
    assert refused(verifier(clock=lambda: end, fixed=(of_secret(SECRET),)), text).code == errors.TOKEN_EXPIRED


def test_a_wrong_signature_is_told_before_any_claim() -> None:
    assert refused(RS, token(rsa(1), exp=1)).code == errors.WRONG_SIGNATURE
    assert refused(HS, token("another secret of thirty-two bytes")).code == errors.WRONG_SIGNATURE


def test_changed_claims_break_the_signature() -> None:
    header, _, signature = token(rsa()).split(".")
    payload = forged({}, None, scope="stream:*:* admin:symbols").split(".")[1]
    assert refused(RS, f"{header}.{payload}.{signature}").code == errors.WRONG_SIGNATURE


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", None, "HS512", "RS1", "ES256K", 5, ["RS256"]]
)
@pytest.mark.parametrize("checked", [HS, RS, ES], ids=["HS256", "RS256", "ES256"])
def test_no_other_algorithm_is_accepted(checked: TokenVerifier, algorithm: Any) -> None:
    for secret in (None, b"", SECRET.encode()):
        assert refused(checked, forged({"alg": algorithm, "typ": "JWT"}, secret)).status == 401


def test_a_token_without_algorithm_is_refused() -> None:
    assert refused(RS, forged({"typ": "JWT"}, None)).status == 401


@pytest.mark.parametrize("key", [rsa(), ec()], ids=["RSA", "EC"])
def test_a_public_key_is_no_secret_of_an_hmac(key: RSAKey | ECKey) -> None:
    for checked in (
        verifier(fixed=(of_pem(public(key), "pem"),)),
        verifier(fetched=of_set(key_set(key)), fetching=True),
    ):
        for secret in (public(key), public(key).strip(), public(key).replace(b"\n", b"")):
            for kid in ({}, {"kid": key.kid}):
                found = refused(checked, forged({"alg": "HS256", **kid}, secret))
                assert found.code == errors.WRONG_SIGNATURE
                assert "'HS256' is not accepted" in str(found) or "alg: not accepted" in str(found)


def test_keys_that_a_token_brings_along_are_ignored() -> None:
    stranger = rsa(7)
    for header in (
        {"jwk": stranger.as_dict(private=False)},
        {"jku": "http://evil.example/"},
        {"x5u": "http://evil.example/"},
    ):
        assert refused(RS, token(stranger, header=header)).status == 401


def test_a_critical_header_that_is_unknown_is_refused() -> None:
    assert refused(HS, forged({"alg": "HS256", "crit": ["exp2"], "exp2": 1}, SECRET.encode())).status == 401


def test_other_unknown_headers_are_ignored() -> None:
    assert HS.verify(forged({"alg": "HS256", "x5t": "abc", "nonce": "1"}, SECRET.encode()))


@pytest.mark.parametrize(
    "text", ["x", ".", "..", "a.b.c", "a.b.c.d", "é.é.é", "\ud800", "eyJ.eyJ.x", " ", "{}", "A" * 8000]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refused(RS, text).code == errors.UNAUTHORIZED_CODE


@given(st.text(max_size=60))
def test_any_text_is_refused_or_an_identity(text: str) -> None:
    refused(HS, text)


@given(st.binary(max_size=80))
def test_any_signed_payload_is_refused_or_an_identity(payload: bytes) -> None:
    text = jws.serialize_compact({"alg": "HS256"}, payload, OctKey.import_key(SECRET.encode()))
    refused(HS, text)


def key_set(*keys: RSAKey | ECKey) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def test_the_key_of_a_set_is_found_by_its_id() -> None:
    checked = verifier(fetched=of_set(key_set(rsa(0), rsa(1), ec(0))), fetching=True)
    for key in (rsa(0), rsa(1), ec(0)):
        assert checked.verify(token(key))
    assert refused(checked, token(rsa(1), kid="rsa-0")).code == errors.WRONG_SIGNATURE
    unknown = refused(checked, token(rsa(2)))
    assert unknown.code == errors.UNKNOWN_SIGNING_KEY
    assert unknown.retry_after == 1
    assert refused(checked, token(rsa(0), kid=None)).code == errors.UNKNOWN_SIGNING_KEY
    assert checked.verify(token(ec(0), kid=None)), "the only one of its algorithm"


def test_a_key_of_the_configuration_does_not_hide_those_of_the_set() -> None:
    checked = verifier(
        fixed=(of_pem(public(rsa(0)), "pem"),), fetched=of_set(key_set(rsa(1), rsa(2), ec(0))), fetching=True
    )
    for key in (rsa(0), rsa(1), rsa(2), ec(0)):
        assert checked.verify(token(key)), key.kid
    assert checked.verify(token(rsa(0), kid=None))
    assert refused(checked, token(rsa(0), kid="rsa-1")).code == errors.WRONG_SIGNATURE
    assert refused(checked, token(rsa(3))).code == errors.UNKNOWN_SIGNING_KEY, "the issuer may have a new one"
    assert refused(checked, token(rsa(3), kid=None)).code == errors.WRONG_SIGNATURE
    early = verifier(fixed=(of_pem(public(rsa(0)), "pem"), of_secret(SECRET)), fetching=True)
    assert "not fetched yet" in str(refused(early, token(rsa(1))))
    assert refused(early, token("x" * 40, kid="rsa-1")).code == errors.WRONG_SIGNATURE


def test_a_key_set_has_no_secrets_and_no_weak_keys() -> None:
    entries = [
        OctKey.import_key(b"x" * 40).as_dict(),
        weak().as_dict(private=False),
        ECKey.generate_key("P-384").as_dict(private=False),
        rsa(1).as_dict(private=False, use="enc"),
        rsa(1).as_dict(private=False, alg="RS512"),
        {"kty": "RSA", "n": "!", "e": "!"},
        {"kty": "OKP"},
        "text",
    ]
    with pytest.raises(ValueError, match="no RSA key of 2048 bits"):
        of_set(json.dumps({"keys": entries}).encode())
    (only,) = of_set(json.dumps({"keys": [*entries, ec().as_dict(private=False)]}).encode())
    assert (only.kid, only.algorithm) == ("ec-0", "ES256")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"keys": 5}', b'{"keys": [5]}', b'"x"', b"5"])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"[kK]ey"):
        of_set(content)


def test_a_pem_file_has_to_be_a_public_key_for_signatures() -> None:
    with pytest.raises(ServiceError, match="pem: a private key; the gateway needs the public one"):
        of_pem(rsa().as_pem(private=True), "pem")
    with pytest.raises(ServiceError, match="pem: an RSA key of 1024 bits"):
        of_pem(weak().as_pem(private=False), "pem")
    with pytest.raises(ServiceError, match="pem: an EC key on P-384"):
        of_pem(ECKey.generate_key("P-384").as_pem(private=False), "pem")
    for text in (b"", b"x", SECRET.encode()):
        with pytest.raises(ServiceError, match="pem: not a PEM file"):
            of_pem(text, "pem")


def test_a_public_key_is_no_shared_secret() -> None:
    with pytest.raises(ServiceError, match=r"gateway\.access\.secret: this looks like a public key"):
        of_secret(public(rsa()).decode())


@pytest.mark.parametrize("depth", [500, 1500, 3000])
def test_a_header_that_is_nested_too_deep_is_refused(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for header in (b"[" * depth, deep, b'{"alg":' + deep + b"}", b'{"alg":"RS256","kid":' + deep + b"}"):
        part = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
        for checked in (RS, verifier(fetched=of_set(key_set(rsa(0), rsa(1))))):
            assert refused(checked, f"{part}.e30.AAAA").status == 401


def test_claims_that_are_nested_deep_are_refused() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    assert refused(HS, token(iss=deep)).code == errors.WRONG_ISSUER
    assert refused(HS, token(aud=deep)).code == errors.WRONG_AUDIENCE


def test_claims_of_the_fixture_are_valid() -> None:
    assert HS.verify(token()).scopes == frozenset(claims()["scope"].split())
