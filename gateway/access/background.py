"""A gate from the configuration, and the tasks that keep its keys current."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alphapulse import logs
from alphapulse.config import AccessSettings, Settings
from alphapulse.errors import ServiceError
from gateway.access import keys as key_file
from gateway.access.audit import Audit
from gateway.access.gate import Gate
from gateway.access.jwks import KeySetFetcher
from gateway.access.keys import ApiKey, ApiKeys
from gateway.access.signing_keys import SigningKeys, fixed_keys
from gateway.access.tokens import TokenRules, TokenVerifier
from schemas.records import Event

POLL_SECONDS: Final = 0.5
"""Interval at which the file of API keys is looked at."""


class GateKeeper:
    """The gate of the configuration, and what keeps its keys current.

    Args:
        service: name of the service in audit events.
        clock: nanoseconds since the Unix epoch.
        publish: takes audit events for ``ops.events``; must not wait.

    Raises:
        ServiceError: a key or the file of API keys cannot be used.

    Attributes:
        gate: for stream and REST.
    """

    def __init__(
        self, settings: Settings, service: str, clock: Callable[[], int], publish: Callable[[Event], object]
    ) -> None:
        access = settings.gateway.access
        audit = Audit(service, clock=clock, now=time.monotonic, publish=publish)
        verifier = _verifier(access, clock)
        self.gate = Gate(access, audit, tokens=verifier, clock=clock)
        self._follower = KeyFileFollower(key_file.keys_path(settings), self.gate, audit)
        self._follower.load()
        self._fetcher: KeySetFetcher | None = None
        if verifier is not None and access.jwks_url:
            self._fetcher = KeySetFetcher(access.jwks_url, access.jwks_refresh_seconds, verifier.keys, self.gate.forget)
            self.gate.refresh = self._fetcher.refresh
            self.gate.want_keys = self._fetcher.want
        if not self.gate.open and verifier is None and not self.gate.keys.active(clock()):
            logs.get("gateway.access").warning(
                "nobody can enter: access is required, and there is no API key; create one with: alphapulse keys create"
            )

    async def watch(self) -> None:
        """Follow the file of API keys, and fetch the issuer's keys; never returns."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follower.watch())
            if self._fetcher is not None:
                tasks.create_task(self._fetcher.watch())


def _verifier(access: AccessSettings, clock: Callable[[], int]) -> TokenVerifier | None:
    if not access.accepts_tokens:
        return None
    path = access.public_key_path
    place = f"gateway.access.public_key_path: {path}"
    try:
        pem = None if path is None else path.read_bytes()
    except OSError as error:
        raise ServiceError(f"{place}: {error.strerror or error}") from error
    keys = SigningKeys(
        fixed=tuple(fixed_keys(access.secret.get_secret_value(), pem, place)), fetching=bool(access.jwks_url)
    )
    rules = TokenRules(access.issuer, access.audience, access.leeway_seconds, access.scope_claim)
    return TokenVerifier(rules, keys, clock)


class KeyFileFollower:
    """Gives the gate the API keys of a file, each time the file changes.

    A file that has become unreadable changes nothing; one that has gone holds no keys.
    """

    def __init__(self, path: Path, gate: Gate, audit: Audit) -> None:
        self._path = path
        self._gate = gate
        self._audit = audit
        self._seen: object = None

    def load(self) -> None:
        """Read the file.

        Raises:
            ServiceError: it cannot be used.
        """
        self._seen = self._stamp()
        self._gate.keys = key_file.read(self._path)

    async def watch(self) -> None:
        """Look at the file about twice a second; never returns."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.look()

    def look(self) -> None:
        """Read the file if it has changed, and write what changed into the audit log."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        before = self._gate.keys
        try:
            self._gate.keys = key_file.read(self._path)
        except ServiceError as error:
            self._audit.keys_refused(f"{error}; the keys read before stay in force")
            return
        for key in _added(before, self._gate.keys):
            self._audit.key_created(key.name, " ".join(key.scopes))
        for key in _ended(before, self._gate.keys):
            self._audit.key_revoked(key.name)

    def _stamp(self) -> object:
        try:
            found = self._path.stat()
        except OSError as error:  # read() says why, unless the file is just missing
            return error.errno
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


def _added(before: ApiKeys, after: ApiKeys) -> list[ApiKey]:
    return [key for key in after.keys if key.id not in before.by_id and key.revoked is None]


def _ended(before: ApiKeys, after: ApiKeys) -> list[ApiKey]:
    now = after.by_id
    return [
        key for key in before.keys if key.revoked is None and (key.id not in now or now[key.id].revoked is not None)
    ]
