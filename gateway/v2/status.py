"""Feeds of status: of one venue, and of all services. Pure.

Their state is looked at once a second (:meth:`StatusFeed.look`): a change is sent then, and what did not change once in
``REPEAT_NS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from gateway.protocol import microseconds
from gateway.state import MarketState
from gateway.v2.encoding import Outgoing
from gateway.v2.feed import Feed
from gateway.v2.messages import ServiceStatus, VenueStatus
from gateway.v2.pace import Pacer

REPEAT_NS: Final = 5_000_000_000


class ServiceCondition(NamedTuple):
    """Condition of a service; ``lag_records`` and ``lag_seconds`` are None if it reads nothing or it is not known."""

    status: Literal["ok", "degraded", "down"]
    lag_records: int | None
    lag_seconds: float | None


class StatusFeed(Feed):
    """Feed of the conditions of one venue, or of all services.

    Args:
        conditions: returns the current messages by what they are about, at a time (ns).
    """

    def __init__(
        self, conditions: Callable[[int], Mapping[str, Struct]], clock: Callable[[], int], pacer: Pacer
    ) -> None:
        super().__init__(pacer)
        self._conditions = conditions
        self._clock = clock
        self._told: dict[str, Struct] = {}
        self._sent: dict[str, int] = {}
        self._new: list[Struct] = []

    def look(self, now: int) -> None:
        """Send what has changed, or was not sent for a while."""
        if not self.audience:
            self.version += 1
            return
        for about, message in self._conditions(now).items():
            told = self._told.get(about)
            if told is None or _differs(told, message) or now - self._sent[about] >= REPEAT_NS:
                self._told[about] = message
                self._sent[about] = now
                self._new.append(message)
        if self._new:
            self.changed()

    def _begin(self) -> None:
        now = self._clock()
        self._told = dict(self._conditions(now))
        self._sent = dict.fromkeys(self._told, now)
        self._new.clear()

    def _snapshot(self) -> Sequence[Outgoing]:
        return list(self._told.values())

    def _news(self) -> Sequence[Outgoing]:
        new, self._new = self._new, []
        return new


_AGES: Final = ("time", "book_age_ms", "lag_seconds", "lag_records")
"""Fields that change all the time: alone they are no news."""


def _differs(one: Struct, other: Struct) -> bool:
    fields, others = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return fields | dict.fromkeys(_AGES) != others | dict.fromkeys(_AGES)


def venue_conditions(state: MarketState, venue: str) -> Callable[[int], Mapping[str, Struct]]:
    """Return the function that gives the condition of a venue."""

    def conditions(now: int) -> Mapping[str, Struct]:
        standing = state.standing(venue, now)
        age = None if standing.youngest is None else standing.youngest // 1_000_000
        return {
            venue: VenueStatus(
                "status",
                venue,
                standing.status,
                standing.good,
                standing.stale,
                standing.invalid,
                age,
                microseconds(now),
            )
        }

    return conditions


def service_conditions(of: Callable[[], Mapping[str, ServiceCondition]]) -> Callable[[int], Mapping[str, Struct]]:
    """Return the function that gives the conditions of all services."""

    def conditions(now: int) -> Mapping[str, Struct]:
        return {
            name: ServiceStatus("status", name, each.status, each.lag_records, each.lag_seconds, microseconds(now))
            for name, each in of().items()
        }

    return conditions
