"""Keys that verify tokens: a shared secret (HS256), a public key (RS256, ES256), the issuer's key set (JWKS).

A key serves one algorithm, by its own type, and a token's header only chooses among them. So neither ``alg: none`` nor
a public key used as the secret of an HMAC finds a key, whatever the header says (RFC 8725, 3.1 and 3.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, RSAKey

from alphapulse import logs
from alphapulse.errors import ServiceError
from alphapulse.shown import shown
from gateway.access.errors import UNKNOWN_SIGNING_KEY, WRONG_SIGNATURE, AccessRefused

HS256: Final = "HS256"
RS256: Final = "RS256"
ES256: Final = "ES256"
ALGORITHMS: Final = (HS256, RS256, ES256)
_FETCHED_ALGORITHMS: Final = frozenset({RS256, ES256})
MIN_RSA_BITS: Final = 2048
MAX_SET_BYTES: Final = 1024 * 1024
"""Largest key set that is accepted, bytes."""

VerifyingKey: TypeAlias = OctKey | RSAKey | ECKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and the one algorithm it is used with.

    Attributes:
        kid: None: it serves any ``kid`` of its algorithm.
    """

    algorithm: str
    key: VerifyingKey
    kid: str | None = None


def of_secret(secret: str) -> SigningKey:
    """Return the key of a shared secret.

    Raises:
        ServiceError: it is a public key, which anybody may have.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)
            return SigningKey(HS256, OctKey.import_key(secret.encode()))
    except (ValueError, JoseError, SecurityWarning) as error:
        raise ServiceError("gateway.access.secret: this looks like a public key; set public_key_path to it") from error


def of_pem(pem: bytes, place: str) -> SigningKey:
    """Return the public key in ``pem``; ``place`` names it in messages.

    Raises:
        ServiceError: it is none that tokens can be signed with.
    """
    algorithms: tuple[tuple[str, type[RSAKey] | type[ECKey]], ...] = ((RS256, RSAKey), (ES256, ECKey))
    for algorithm, kind in algorithms:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # _fault() refuses it
                key = kind.import_key(pem)
        except (ValueError, TypeError, JoseError):
            continue
        if key.is_private:
            raise ServiceError(f"{place}: a private key; the gateway needs the public one (openssl pkey -pubout)")
        if fault := _fault(key):
            raise ServiceError(f"{place}: {fault}")
        return SigningKey(algorithm, key)
    raise ServiceError(f"{place}: not a PEM file of an RSA or EC P-256 public key")


def of_set(content: bytes) -> tuple[SigningKey, ...]:
    """Return the keys of a JSON Web Key Set that tokens may be signed with; others are passed over (RFC 7517, 5).

    A warning is logged if there are some that cannot be read.

    Raises:
        ValueError: it is not a key set, or holds no such key.
    """
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ValueError("not a JSON Web Key Set") from error
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 it is data
    keys: list[SigningKey] = []
    odd: list[str] = []
    for number, entry in enumerate(listed):
        try:
            key = _of_entry(entry)
        except _OddKey as error:
            odd.append(f"keys[{number}]: {error}")
        else:
            if key is not None:
                keys.append(key)
    if odd:
        logs.get("gateway.access").warning("issuer's keys passed over", count=len(odd), first=odd[0])
    if not keys:
        raise ValueError("no RSA key of 2048 bits or more and no EC P-256 key for signatures in the key set")
    return tuple(keys)


class _OddKey(Exception):
    """An entry of a key set that cannot be read; the message says why."""


def _of_entry(entry: object) -> SigningKey | None:
    """Return the key of an entry; None: tokens are not signed with such a one.

    Raises:
        _OddKey: it cannot be read.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("kty"), str):
        raise _OddKey("expected an object with kty, a text")
    kinds: dict[object, tuple[str, type[RSAKey] | type[ECKey]]] = {"RSA": (RS256, RSAKey), "EC": (ES256, ECKey)}
    chosen = kinds.get(entry["kty"])
    if chosen is None or entry.get("use", "sig") != "sig":
        return None
    algorithm, kind = chosen
    if entry.get("alg", algorithm) != algorithm:
        return None
    kid = entry.get("kid")
    public = {name: value for name, value in entry.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            key = kind.import_key(public)
            fault = _fault(key)
    except Exception as error:  # the library lets KeyError and others out; one key must not cost the others
        raise _OddKey(f"kty {entry['kty']}: {type(error).__name__}: {str(error)[:200]}") from error
    return None if fault else SigningKey(algorithm, key, kid if isinstance(kid, str) else None)


def _fault(key: RSAKey | ECKey) -> str:
    if isinstance(key, RSAKey):
        bits = key.raw_value.key_size
        return "" if bits >= MIN_RSA_BITS else f"an RSA key of {bits} bits; at least {MIN_RSA_BITS} are needed"
    return "" if key.curve_name == "P-256" else f"an EC key on {key.curve_name}; ES256 needs P-256"


@dataclass(slots=True)
class SigningKeys:
    """All keys that tokens may be signed with.

    Attributes:
        fixed: of the configuration.
        fetched: of the issuer's key set; replaced as a whole.
        fetching: whether there is a key set to fetch.
    """

    fixed: tuple[SigningKey, ...] = ()
    fetched: tuple[SigningKey, ...] = ()
    fetching: bool = False

    def find(self, header: Mapping[str, Any]) -> VerifyingKey:
        """Return the key for a token with this header.

        Raises:
            AccessRefused: its algorithm is not accepted, or its key is unknown.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        accepted = self.algorithms
        if algorithm not in accepted:
            raise AccessRefused(
                WRONG_SIGNATURE,
                f"token header alg: {shown(algorithm, 22)} is not accepted; accepted: {', '.join(accepted)}",
            )
        candidates = [key for key in self.fetched if key.algorithm == algorithm]
        for key in candidates:
            if key.kid == kid and kid is not None:
                return key.key
        for key in self.fixed:  # after those that are named: it has no name, so it would hide them all
            if key.algorithm == algorithm:
                return key.key
        if kid is None and len(candidates) == 1:
            return candidates[0].key
        raise self._unknown(kid)

    def wrong_signature(self, header: Mapping[str, Any]) -> AccessRefused:
        """Return the refusal of a token that the key found for its header has not signed.

        That was a key of the configuration, which serves any ``kid``, if the token names one that is not fetched; then
        the issuer may have a new key.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        known = any(key.kid == kid and key.algorithm == algorithm for key in self.fetched)
        if self.fetching and algorithm in _FETCHED_ALGORITHMS and kid is not None and not known:
            return self._unknown(kid)
        return AccessRefused(WRONG_SIGNATURE, "token signature: wrong")

    def _unknown(self, kid: object) -> AccessRefused:
        if self.fetching and not self.fetched:
            return AccessRefused(
                UNKNOWN_SIGNING_KEY, "the issuer's keys are not fetched yet; try again", retry_after=5.0
            )
        if kid is None:
            return AccessRefused(UNKNOWN_SIGNING_KEY, "token header kid: missing, and the issuer has several keys")
        return AccessRefused(
            UNKNOWN_SIGNING_KEY,
            f"token header kid: {shown(kid)} is not among the issuer's keys",
            retry_after=1.0 if self.fetching else None,
        )

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Accepted algorithms."""
        known = {key.algorithm for key in (*self.fixed, *self.fetched)}
        if self.fetching and not self.fetched:
            known |= _FETCHED_ALGORITHMS
        return tuple(each for each in ALGORITHMS if each in known)


def fixed_keys(secret: str, pem: bytes | None, place: str) -> Iterable[SigningKey]:
    """Return the keys of the configuration.

    Raises:
        ServiceError: one cannot be used.
    """
    if secret:
        yield of_secret(secret)
    if pem is not None:
        yield of_pem(pem, place)
