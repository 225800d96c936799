"""Time up to which the tables are complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

Horizon: TypeAlias = Callable[[], int]
"""Returns the time, ns since the Unix epoch."""

SETTLE: Final = 10 * 10**9
"""A sink that keeps up has written a record within two seconds (``[clickhouse] batch_seconds``); ns."""


def horizon_of(clock: Callable[[], int], lag_seconds: Callable[[], float]) -> Horizon:
    """Return the horizon of a sink.

    Args:
        clock: ns since the Unix epoch.
        lag_seconds: by how much the sink is behind.
    """

    def horizon() -> int:
        return clock() - SETTLE - int(lag_seconds() * 1e9)

    return horizon
