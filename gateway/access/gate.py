"""The gate: who a client is, what it may see, how much it may ask for. Synchronous; does no I/O.

A client is identified by :meth:`Gate.identify`, admitted as a connection by :meth:`Gate.admit_address` and
:meth:`Gate.admit_identity`, charged for each request by :meth:`Gate.request` or :meth:`Gate.message`, and checked about
once a second by :meth:`Gate.check`, which notices expired tokens, revoked and changed keys. All raise
:exc:`~gateway.access.errors.AccessRefused`.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Self

from alphapulse.config import AccessSettings
from alphapulse.errors import RequestRefused
from gateway.access.address import AddressRules, ClientAddress, network_of
from gateway.access.audit import Audit
from gateway.access.errors import (
    CONNECTION_LIMITED,
    FORBIDDEN_CODE,
    KEY_REVOKED,
    RATE_LIMITED,
    TOKEN_EXPIRED,
    UNAUTHORIZED_CODE,
    UNKNOWN_SIGNING_KEY,
    WRONG_SIGNATURE,
    AccessRefused,
)
from gateway.access.identity import EVERYONE, Identity
from gateway.access.keys import NO_KEYS, PREFIX, ApiKeys
from gateway.access.limits import Allowance, Buckets, Connections, FailedAttempts
from gateway.access.tokens import TokenVerifier

__all__ = ["AccessRefused", "Admission", "Gate"]

MAX_CREDENTIALS: Final = 8192
"""Maximum characters of a token or key."""
MAX_ACCEPTED: Final = 4096
"""Tokens whose signature is not verified again."""
_UNLIMITED: Final = Allowance(granted=True, limit=0, remaining=0, reset=0.0, retry_after=0.0)


class Admission:
    """A place among the connections of an identity and an address; :meth:`release` it when the connection ends."""

    def __init__(self, release: Callable[[], None] | None) -> None:
        self._release = release

    @classmethod
    def none(cls) -> Self:
        """Return a place that is not counted."""
        return cls(None)

    def release(self) -> None:
        """Give the place back, once."""
        if self._release is not None:
            self._release()
            self._release = None


class Gate:
    """Access of clients.

    Args:
        tokens: None: no tokens are accepted.
        clock: nanoseconds since the Unix epoch.
        now: monotonic seconds.

    Attributes:
        open: whether clients without credentials may read everything. Credentials that are sent are checked even then.
        addresses: reads a client's address.
        tokens: verifies tokens; None: none are accepted.
        refresh: fetches the issuer's keys anew; returns whether it did. None: there are none to fetch.
        want_keys: lets them be fetched soon.
    """

    def __init__(
        self,
        settings: AccessSettings,
        audit: Audit,
        *,
        tokens: TokenVerifier | None = None,
        clock: Callable[[], int] = time.time_ns,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.open = settings.mode == "open"
        self.addresses = AddressRules(settings.trusted_proxies)
        self.tokens = tokens
        self.refresh: Callable[[], Awaitable[bool]] | None = None
        self.want_keys: Callable[[], object] = lambda: None
        self._audit = audit
        self._clock = clock
        self._now = now
        self._keys = NO_KEYS
        self._accepted: OrderedDict[bytes, Identity] = OrderedDict()
        self._failures = FailedAttempts()
        self._requests: Buckets[str] = Buckets(settings.requests_per_second, settings.request_burst)
        self._messages: Buckets[str] = Buckets(settings.messages_per_second, settings.message_burst)
        self._by_identity: Connections[str] = Connections(settings.connections_per_identity)
        self._by_address: Connections[str] = Connections(settings.connections_per_address)

    # --- authentication ---------------------------------------------------------------------------------------

    def identify(self, credentials: str, address: str) -> Identity:
        """Return whom ``credentials`` identify; :data:`EVERYONE` without any, where access is open.

        After a few that were made up the address has to pause, longer with each further one. Valid credentials are
        accepted meanwhile, so that nobody is locked out by others behind the same address; a failure is refused
        without telling why. What verification costs, the caller limits: by :meth:`arrival` or :meth:`message`.

        Args:
            credentials: a token or an API key; empty: none were sent.
            address: of the client, for the audit log and the pause.

        Raises:
            AccessRefused: the message says why and never repeats the credentials.
        """
        with self._audited(credentials, address):
            try:
                return self._attempt(credentials, address)
            except AccessRefused as refusal:
                if refusal.code == UNKNOWN_SIGNING_KEY:
                    self.want_keys()
                raise

    async def arrive(self, credentials: str, address: str) -> Identity:
        """Identify as :meth:`identify` does; a token with an unknown signing key waits until the keys are fetched anew.

        Raises:
            AccessRefused: as of :meth:`identify`.
        """
        with self._audited(credentials, address):
            try:
                return self._attempt(credentials, address)
            except AccessRefused as refusal:
                if refusal.code != UNKNOWN_SIGNING_KEY or self.refresh is None or not await self.refresh():
                    raise
            return self._attempt(credentials, address)

    @contextlib.contextmanager
    def _audited(self, credentials: str, address: str) -> Iterator[None]:
        try:
            yield
        except AccessRefused as refusal:
            pause = self._failures.pause(network_of(address), self._now()) if credentials else 0.0
            if pause > 0:
                reason = f"too many failed authentications from {address}; pause for {pause:.0f} s"
                limited = AccessRefused(RATE_LIMITED, reason, retry_after=pause)
                self._audit.limited("", address, limited)
                raise limited from refusal
            if credentials and self._guessed(refusal):
                self._failures.failed(network_of(address), self._now())
            self._audit.refused(refusal, address)
            raise

    def _guessed(self, refusal: AccessRefused) -> bool:
        """Return whether credentials may have been made up: not if they were valid once, or for another service.

        Nor if the issuer's keys are not there yet, which says nothing about the token.
        """
        if refusal.code == UNKNOWN_SIGNING_KEY:
            return self.tokens is None or bool(self.tokens.keys.fetched)
        return refusal.code in (UNAUTHORIZED_CODE, WRONG_SIGNATURE)

    def _attempt(self, credentials: str, address: str) -> Identity:
        if not credentials and self.open:
            return EVERYONE
        digest = hashlib.sha256(credentials.encode("utf-8", "surrogatepass")).digest()
        identity = self._accepted.get(digest)
        if identity is None:
            identity = self._identified(credentials)
        self.check(identity)
        self._accepted[digest] = identity
        self._accepted.move_to_end(digest)
        if len(self._accepted) > MAX_ACCEPTED:
            self._accepted.popitem(last=False)
        self._audit.granted(identity, address)
        return identity

    def _identified(self, credentials: str) -> Identity:
        if not credentials:
            raise AccessRefused(
                UNAUTHORIZED_CODE,
                "credentials are required: an API key or a token, in the header Authorization: Bearer …"
                " or in the stream's first message",
            )
        if len(credentials) > MAX_CREDENTIALS:
            raise AccessRefused(UNAUTHORIZED_CODE, f"credentials of more than {MAX_CREDENTIALS} characters")
        if credentials.startswith(PREFIX):
            key = self._keys.find(credentials)
            if key is None:
                raise AccessRefused(UNAUTHORIZED_CODE, "API key: unknown")
            return key.identity
        if self.tokens is None:
            raise AccessRefused(UNAUTHORIZED_CODE, f"not an API key ({PREFIX}…), and tokens are not accepted here")
        return self.tokens.verify(credentials)

    def check(self, identity: Identity) -> None:
        """Check that an identity still is what it was; call it about once a second for each connection.

        Raises:
            AccessRefused: its token or key has expired, or its key was revoked, or has other scopes or another expiry.
        """
        if identity.key is not None:
            key = self._keys.by_id.get(identity.key)
            if key is None or key.revoked is not None:
                raise AccessRefused(KEY_REVOKED, f"API key {identity.name}: revoked")
            if key.identity != identity:
                raise AccessRefused(KEY_REVOKED, f"API key {identity.name}: changed; authenticate again")
        if identity.expires is not None and identity.expires <= self._clock():
            what = f"API key {identity.name}" if identity.key is not None else "the token"
            raise AccessRefused(TOKEN_EXPIRED, f"{what}: expired")

    # --- authorisation ----------------------------------------------------------------------------------------

    def stream(self, identity: Identity, channel: str, venue: str | None, address: str) -> None:
        """Check that ``identity`` may stream a channel of a venue (None: of all at once).

        Raises:
            AccessRefused: code ``forbidden``; the message names the scope that is missing.
        """
        if not identity.may_stream(channel, venue):
            self._forbid(identity, f"stream:{channel}:{venue or '*'}", address)

    def call(self, identity: Identity, scope: str, address: str) -> None:
        """Check that ``identity`` has a scope of REST.

        Raises:
            AccessRefused: code ``forbidden``; the message names the scope that is missing.
        """
        if not identity.may_call(scope):
            self._forbid(identity, scope, address)

    def _forbid(self, identity: Identity, scope: str, address: str) -> None:
        refusal = AccessRefused(FORBIDDEN_CODE, f"{identity.name} has no scope {scope}")
        self.forbidden(identity, refusal, address)
        raise refusal

    def forbidden(self, identity: Identity, refusal: RequestRefused, address: str) -> None:
        """Write into the audit log that ``identity`` asked for what it may not see."""
        self._audit.forbidden(identity, address, refusal)

    # --- limits -----------------------------------------------------------------------------------------------

    def arrival(self, address: ClientAddress) -> Allowance:
        """Charge a REST request or a handshake to its address, before its credentials are verified.

        Returns:
            What remains (``limit`` 0: there is none).

        Raises:
            AccessRefused: code ``rate_limited``, with ``retry_after`` and the headers of the limit.
        """
        return self._charge(self._requests, EVERYONE, address, "requests")

    def request(self, identity: Identity, address: ClientAddress, arrival: Allowance | None = None) -> Allowance:
        """Charge a REST request or a handshake; return what remains, as :meth:`arrival` does.

        Args:
            arrival: what :meth:`arrival` has returned for it; None: its address is charged now.

        Raises:
            AccessRefused: as of :meth:`arrival`.
        """
        return self._charge(self._requests, identity, address, "requests", arrival)

    def message(self, identity: Identity, address: ClientAddress) -> Allowance:
        """Charge a message of a stream's client, as :meth:`request` does a request.

        Raises:
            AccessRefused: code ``rate_limited``, with ``retry_after``.
        """
        return self._charge(self._messages, identity, address, "messages")

    def _charge(
        self,
        buckets: Buckets[str],
        identity: Identity,
        address: ClientAddress,
        what: str,
        charged: Allowance | None = None,
    ) -> Allowance:
        """Charge the identity, and the address unless it was (``charged``); return the scarcer of the two."""
        now = self._now()
        spent = [buckets.spend(owner, now) for owner in _owners(identity, None if charged else address)]
        if charged is not None and charged.limit:
            spent.append(charged)
        if not spent:
            return _UNLIMITED
        scarcest = min(spent, key=lambda each: (each.granted, each.remaining))
        if not scarcest.granted:
            refusal = AccessRefused(
                RATE_LIMITED,
                f"more than {scarcest.limit} {what} at once; the next in {scarcest.retry_after:.2f} s",
                retry_after=scarcest.retry_after,
                headers=limit_headers(scarcest),
            )
            self._audit.limited(identity.name, address.text, refusal)
            raise refusal
        return scarcest

    def admit_address(self, address: ClientAddress) -> Admission:
        """Count a connection of an address until it is released; none of this machine is counted.

        Raises:
            AccessRefused: code ``connection_limit``.
        """
        if address.local:
            return Admission.none()
        return self._admit(self._by_address, network_of(address.text), "", address.text)

    def admit_identity(self, identity: Identity, address: str) -> Admission:
        """Count a connection of an identity until it is released; none of everyone is counted.

        Raises:
            AccessRefused: code ``connection_limit``.
        """
        if identity is EVERYONE:
            return Admission.none()
        return self._admit(self._by_identity, _identity_key(identity), identity.name, address)

    def _admit(self, connections: Connections[str], owner: str, name: str, address: str) -> Admission:
        if connections.full(owner):
            whose = f"of {name}" if name else f"from {address}"
            refusal = AccessRefused(CONNECTION_LIMITED, f"at most {connections.most} connections {whose}")
            self._audit.limited(name, address, refusal)
            raise refusal
        connections.opened(owner)
        return Admission(lambda: connections.closed(owner))

    # --- what changes while the gateway runs --------------------------------------------------------------------

    @property
    def keys(self) -> ApiKeys:
        """The API keys in force; set them to replace them all."""
        return self._keys

    @keys.setter
    def keys(self, keys: ApiKeys) -> None:
        self._keys = keys
        self.forget()

    def forget(self) -> None:
        """Verify all credentials anew from now on: keys have changed."""
        self._accepted.clear()


def limit_headers(allowance: Allowance) -> dict[str, str]:
    """Return the headers that state a limit, empty where there is none."""
    if not allowance.limit:
        return {}
    return {
        "RateLimit-Limit": str(allowance.limit),
        "RateLimit-Remaining": str(allowance.remaining),
        "RateLimit-Reset": str(-int(-allowance.reset // 1)),
    }


def _identity_key(identity: Identity) -> str:
    return f"key {identity.key}" if identity.key is not None else f"sub {identity.name}"


def _owners(identity: Identity, address: ClientAddress | None) -> tuple[str, ...]:
    """Return whose buckets are charged: a client on this machine has none of its address, everyone none of a name."""
    owners = () if identity is EVERYONE else (_identity_key(identity),)
    return owners if address is None or address.local else (*owners, f"at {network_of(address.text)}")
