"""Keeps a load from running away from the groups that read the topic.

A broker in memory drops what its bounded log has no room for, read or not, and a person's broker has other work, too.
Groups without members do not count: nobody reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from alphapulse.config import Settings
from alphapulse.errors import BrokerError
from alphapulse.kafka import LagReader
from alphapulse.topics import L2, TRADES
from sinks.load.lock import members

UNREAD_BYTES: Final = 2 * 2**20
"""Of a partition; the embedded broker keeps 8 MiB."""
_POLL_SECONDS: Final = 0.1
_STALL_SECONDS: Final = 120.0
_TELL_SECONDS: Final = 5.0


class Pacing:
    """Waits for readers.

    Args:
        settings: the groups.
        topic: that is loaded.
        tell: told whom it waits for.
    """

    def __init__(self, settings: Settings, topic: str, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._tell = tell
        groups = {
            settings.clickhouse.group: settings.clickhouse.topics,
            settings.parquet.group: settings.parquet.topics,
        }
        if topic in (L2, TRADES):
            groups[settings.processors.group] = (L2, TRADES)
        self._groups = {name: (topic,) for name, topics in groups.items() if topic in topics}
        self._sent = 0
        self._records = 0

    def sent(self, records: int, size: int) -> None:
        """Count records that were sent, and their bytes."""
        self._records += records
        self._sent += size

    async def wait(self, lag: LagReader) -> None:
        """Return when no group with members has more than :data:`UNREAD_BYTES` of a partition to read.

        Raises:
            BrokerError: a group does not read on.
        """
        if not self._records:
            return
        bound = UNREAD_BYTES * self._records // self._sent
        least, since, told = -1, time.monotonic(), time.monotonic()
        while True:
            found = await lag.read()
            behind = {
                name: worst
                for name in self._groups
                if (worst := max((one.lag for one in found[name].partitions.values()), default=0)) > bound
            }
            if behind:
                living = await members(self._settings.kafka, list(behind))
                behind = {name: worst for name, worst in behind.items() if living.get(name)}
            if not behind:
                return
            total, now = sum(behind.values()), time.monotonic()
            if least < 0 or total < least:
                least, since = total, now
            name, worst = max(behind.items(), key=lambda one: one[1])
            if now - since > _STALL_SECONDS:
                raise BrokerError(
                    f"{name} is {worst:,} records of {self._topic} behind and reads no further; "
                    "repeat the load when it does"
                )
            if now - told > _TELL_SECONDS:
                self._tell(f"waiting: {name} is {worst:,} records behind")
                told = now
            await asyncio.sleep(_POLL_SECONDS)

    def reader(self) -> LagReader:
        """Return what reads the lag."""
        return LagReader(self._settings.kafka, self._groups)
