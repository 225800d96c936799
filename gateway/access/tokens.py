"""Verification of JSON Web Tokens (RFC 7519), by joserfc. Pure: keys and time are given.

joserfc (BSD-3-Clause) and not PyJWT (MIT): it is here already, below the schema registry's client, so it adds nothing
to the locks; it is typed; its keys know their type, so a key cannot be used with another type's algorithm, and it
refuses public keys as HMAC secrets by parsing them, where PyJWT looks at how they begin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    DecodeError,
    ExpiredTokenError,
    JoseError,
    MissingClaimError,
    UnsupportedAlgorithmError,
)
from joserfc.jwk import GuestProtocol
from joserfc.jws import JWSRegistry

from alphapulse.shown import shown
from gateway.access.errors import (
    BAD_CLAIM,
    TOKEN_EXPIRED,
    TOKEN_NOT_YET_VALID,
    UNAUTHORIZED_CODE,
    WRONG_AUDIENCE,
    WRONG_ISSUER,
    WRONG_SIGNATURE,
    AccessRefused,
)
from gateway.access.identity import BadScope, Identity, scopes_of
from gateway.access.signing_keys import ALGORITHMS, SigningKeys, VerifyingKey

MAX_NAME: Final = 256
"""Maximum characters of ``sub``."""
_SECOND: Final = 1_000_000_000
_LATEST: Final = 2**63 - 1
"""The latest time that fits where times go, ns."""


class _Registry(JWSRegistry):
    """Unknown header fields are ignored (RFC 7515, 4), unless critical; issuers do send them."""

    max_header_length = 4096


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say.

    Args:
        leeway: allowed difference of clocks, seconds.
        scope_claim: claim with the scopes.
    """

    issuer: str
    audience: str
    leeway: int
    scope_claim: str


class TokenVerifier:
    """Turns tokens into identities.

    Args:
        keys: may change at any time.
        clock: nanoseconds since the Unix epoch.
    """

    def __init__(self, rules: TokenRules, keys: SigningKeys, clock: Callable[[], int]) -> None:
        self.keys = keys
        self._rules = rules
        self._clock = clock
        self._registry = _Registry(algorithms=ALGORITHMS, strict_check_header=False)

    def verify(self, token: str) -> Identity:
        """Return whom ``token`` identifies.

        Raises:
            AccessRefused: it is invalid; the message says which part. The signature is checked before any claim.
        """
        header: dict[str, Any] = {}

        def key(token: GuestProtocol) -> VerifyingKey:
            header.update(token.headers())
            return self.keys.find(header)

        try:
            decoded = jwt.decode(token, key, registry=self._registry)
        except BadSignatureError as error:
            raise self.keys.wrong_signature(header) from error
        except UnsupportedAlgorithmError as error:
            accepted = ", ".join(self.keys.algorithms)
            raise AccessRefused(WRONG_SIGNATURE, f"token header alg: not accepted; accepted: {accepted}") from error
        except (JoseError, ValueError, TypeError, RecursionError) as error:  # the last: nested too deep
            part = "not a token (header.payload.signature)" if isinstance(error, DecodeError) else _kind(error)
            raise AccessRefused(UNAUTHORIZED_CODE, f"token: {part}") from error
        return self._identity(decoded.claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        rules, now = self._rules, self._clock()
        registry = jwt.JWTClaimsRegistry(
            now=now // _SECOND,
            leeway=rules.leeway,
            sub={"essential": True},
            exp={"essential": True},
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
        )
        try:
            registry.validate(claims)
        except MissingClaimError as error:
            raise AccessRefused(BAD_CLAIM, f"token claim {error.claim}: missing") from error
        except ExpiredTokenError as error:
            ago = now // _SECOND - max(0, int(claims["exp"]))
            raise AccessRefused(TOKEN_EXPIRED, f"token claim exp: expired {ago} s ago") from error
        except ClaimError as error:
            raise _claim_refused(error.claim, claims, rules, now) from error
        name = str(claims["sub"])
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise AccessRefused(BAD_CLAIM, f"token claim sub: expected 1 to {MAX_NAME} printable characters")
        expires = min(int((min(claims["exp"], _LATEST // _SECOND) + rules.leeway) * _SECOND), _LATEST)
        return Identity(name, self._scopes(claims.get(rules.scope_claim)), expires)

    def _scopes(self, value: object) -> frozenset[str]:
        claim = self._rules.scope_claim
        words = value.split() if isinstance(value, str) else value
        if value is None:
            words = []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise AccessRefused(BAD_CLAIM, f"token claim {claim}: expected text or a list of texts")
        try:
            # Words without a colon are others' (OpenID Connect's `openid`, `profile`).
            return scopes_of(word for word in words if ":" in word)
        except BadScope as error:
            raise AccessRefused(BAD_CLAIM, f"token claim {claim}: {error}") from error


def _kind(error: Exception) -> str:
    """Return what a library's error is about, without the text of the token that it may repeat."""
    return f"cannot be decoded ({error.error or 'malformed'})" if isinstance(error, JoseError) else "malformed"


def _claim_refused(claim: str, claims: Mapping[str, Any], rules: TokenRules, now: int) -> AccessRefused:
    found = claims.get(claim)
    match claim:
        case "iss":
            return AccessRefused(WRONG_ISSUER, f"token claim iss: expected {rules.issuer!r}, found {shown(found, 120)}")
        case "aud":
            return AccessRefused(
                WRONG_AUDIENCE, f"token claim aud: expected {rules.audience!r}, found {shown(found, 120)}"
            )
        case "nbf" if isinstance(found, int | float) and not math.isnan(min(found, _LATEST)):
            wait = max(0, int(min(found, _LATEST)) - now // _SECOND)
            return AccessRefused(TOKEN_NOT_YET_VALID, f"token claim nbf: valid in {wait} s only")
        case "iat" if isinstance(found, int | float):
            return AccessRefused(TOKEN_NOT_YET_VALID, "token claim iat: issued in the future")
        case _:
            return AccessRefused(BAD_CLAIM, f"token claim {claim}: invalid")
