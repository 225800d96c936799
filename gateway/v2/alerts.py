"""Feeds of alerts: events of severity WARNING or ERROR of a venue, or of services. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import UNSET, UnsetType

from gateway.protocol import microseconds
from gateway.v2.encoding import Outgoing
from gateway.v2.feed import Feed
from gateway.v2.messages import Alert, AlertItem, AlertsSnapshot
from gateway.v2.pace import Pacer
from schemas.records import Event

ALERTS_KEPT: Final = 50


def is_alert(event: Event) -> bool:
    """Return whether an event is an alert."""
    return event.severity in ("WARNING", "ERROR")


class AlertsFeed(Feed):
    """Feed of the alerts of one venue (None: of those without one).

    Args:
        latest: the latest ones, the newest last; kept by the caller.
    """

    keeps_gaps = True

    def __init__(self, venue: str | None, latest: Iterable[Event], pacer: Pacer) -> None:
        super().__init__(pacer)
        self._venue = venue
        self._latest_events = latest
        self._new: list[Event] = []

    def take(self, event: Event) -> None:
        """Send an alert that is the latest now."""
        if self.audience:
            self._new.append(event)
        self.changed()

    def _begin(self) -> None:
        self._new.clear()

    def _snapshot(self) -> Sequence[Outgoing]:
        return (self._latest(UNSET),)

    def resumption(self) -> Sequence[Outgoing]:
        return (self._latest(True),)

    def _latest(self, gap: Literal[True] | UnsetType) -> AlertsSnapshot:
        return AlertsSnapshot("alerts", self._venue, [AlertItem(*_fields(event)) for event in self._latest_events], gap)

    def _news(self) -> Sequence[Outgoing]:
        new, self._new = self._new, []
        return [Alert(*_fields(event)) for event in new]


def _fields(event: Event) -> tuple[int, str, str | None, str | None, str, Literal["warning", "error"], str]:
    severity: Literal["warning", "error"] = "error" if event.severity == "ERROR" else "warning"
    return microseconds(event.time), event.service, event.venue, event.symbol, event.kind, severity, event.message
