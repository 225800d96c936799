"""Time up to which the tables are complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

Horizon: TypeAlias = Callable[[], int]
"""Returns the time, ns since the Unix epoch."""

SETTLE: Final = 10 * 10**9
"""A sink that keeps up has written a record within seven seconds (``[clickhouse] batch_seconds_max`` and two more); ns.
Longer waits show as lag."""


NOTHING_STORED: Final = 0
"""Horizon of a sink of which nothing is known: the tables are complete up to no time."""


def horizon_of(clock: Callable[[], int], lag_seconds: Callable[[], float | None]) -> Horizon:
    """Return the horizon of a sink.

    Args:
        clock: ns since the Unix epoch.
        lag_seconds: by how much the sink is behind; None: not known.
    """

    def horizon() -> int:
        lag = lag_seconds()
        return NOTHING_STORED if lag is None else clock() - SETTLE - int(lag * 1e9)

    return horizon
