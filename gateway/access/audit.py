"""Audit log: who was let in, who was refused, whom a limit stopped, which keys came and went.

Each entry is a log line ``audit`` with the fields of :class:`Entry`, a count in the metrics, and an event on
``ops.events`` of the kind ``access_<action>``. Repetitions are counted, not written: at most one entry a second for the
same action and the same identity or address (IPv6: /64; one a minute for ``granted``); the next one says how many
were left out. No entry holds credentials.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from alphapulse import logs, metrics
from alphapulse.errors import RequestRefused
from gateway.access.address import network_of
from gateway.access.errors import AccessRefused
from gateway.access.identity import Identity
from schemas.records import Event, Severity

Action: TypeAlias = Literal["granted", "refused", "forbidden", "limited", "key_created", "key_revoked", "keys_refused"]
ACTIONS: Final[tuple[Action, ...]] = (
    "granted",
    "refused",
    "forbidden",
    "limited",
    "key_created",
    "key_revoked",
    "keys_refused",
)
SPACING_SECONDS: Final = 1.0
GRANTED_SPACING_SECONDS: Final = 60.0
"""A program that polls REST is authenticated with each request."""
MAX_TRACKED: Final = 10_000

_SEVERITIES: Final[dict[str, Severity]] = {"keys_refused": "ERROR"}
"""All else is INFO: a client that guesses must not be able to fill the channel ``alerts``, which shows the others."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written down.

    Attributes:
        identity: name; empty: unknown.
        address: of the client; empty: none.
        code: of the refusal.
        reason: one line for a person.
        left_out: entries of the same kind since the last one that was written.
    """

    action: Action
    identity: str
    address: str
    code: str
    reason: str
    left_out: int


class Audit:
    """Writes the audit log.

    Args:
        service: name of the service in events.
        clock: nanoseconds since the Unix epoch.
        now: monotonic seconds.
        publish: takes the events for ``ops.events``; must not wait.
    """

    def __init__(
        self,
        service: str,
        *,
        clock: Callable[[], int],
        now: Callable[[], float],
        publish: Callable[[Event], object] = lambda _: None,
    ) -> None:
        self._service = service
        self._clock = clock
        self._now = now
        self._publish = publish
        self._log = logs.get("gateway.access")
        self._written: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        for action in ACTIONS:
            metrics.GATEWAY_ACCESS.labels(action=action)

    def granted(self, identity: Identity, address: str) -> None:
        """An authentication succeeded."""
        about = f"{identity.name} {network_of(address)}"
        self._write("granted", identity.name, address, "", f"{identity.name} was authenticated", about)

    def refused(self, refusal: AccessRefused, address: str) -> None:
        """An authentication failed."""
        self._write("refused", "", address, refusal.code, str(refusal), network_of(address))

    def forbidden(self, identity: Identity, address: str, refusal: RequestRefused) -> None:
        """An identity asked for something that its scopes do not cover."""
        self._write("forbidden", identity.name, address, refusal.code, str(refusal), identity.name)

    def limited(self, identity: str, address: str, refusal: AccessRefused) -> None:
        """A limit was reached; ``identity`` is empty where it is unknown."""
        self._write("limited", identity, address, refusal.code, str(refusal), identity or network_of(address))

    def key_created(self, name: str, scopes: str) -> None:
        """A key was found that was not there before."""
        self._write("key_created", name, "", "", f"API key {name} was created, scopes {scopes}", None)

    def key_revoked(self, name: str) -> None:
        """A key was found revoked, or is no longer there."""
        self._write("key_revoked", name, "", "", f"API key {name} was revoked", None)

    def keys_refused(self, reason: str) -> None:
        """The keys cannot be read; those read last stay in force."""
        self._write("keys_refused", "", "", "", reason, "")

    def _write(self, action: Action, identity: str, address: str, code: str, reason: str, about: str | None) -> None:
        """Write an entry, unless one about the same was written just before (None: write each)."""
        metrics.GATEWAY_ACCESS.labels(action=action).inc()
        left_out = 0
        if about is not None:
            now, key = self._now(), (action, about)
            spacing = GRANTED_SPACING_SECONDS if action == "granted" else SPACING_SECONDS
            written, left_out = self._written.pop(key, (now - spacing, 0))
            if now - written < spacing:
                self._written[key] = written, left_out + 1
                return
            self._written[key] = now, 0
            if len(self._written) > MAX_TRACKED:
                self._written.popitem(last=False)
        entry = Entry(action, identity, address, code, reason, left_out)
        fields = {
            "action": action,
            "identity": identity,
            "address": address,
            "code": code,
            "left_out": left_out,
        }
        shown = {name: value for name, value in fields.items() if value}
        severity = _SEVERITIES.get(action, "INFO")
        log = self._log.error if severity == "ERROR" else self._log.info
        log("audit", reason=entry.reason, **shown)
        details = {name: str(value) for name, value in shown.items()}
        self._publish(
            Event(
                time=self._clock(),
                service=self._service,
                kind=f"access_{action}",
                severity=severity,
                venue=None,
                symbol=None,
                message=entry.reason,
                details=details,
            )
        )
