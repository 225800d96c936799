"""How far groups have come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Final, Self

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import LagReader
from tests.fixtures.background import Background

POLL_SECONDS: Final = 0.1


class Stuck(AssertionError):
    """Nothing was committed for too long."""


class Progress(Background):
    """Follows the commits of groups; an async context manager.

    Args:
        settings: the broker.
        groups: group → topics and their messages in all.
        patience: seconds in which a group that is waited for has to commit something.

    Attributes:
        settings: the broker.
        committed: group → messages.
    """

    def __init__(
        self, settings: KafkaSettings, groups: Mapping[str, tuple[Collection[str], int]], patience: float
    ) -> None:
        super().__init__()
        self.settings = settings
        self.committed = dict.fromkeys(groups, 0)
        self._moved = dict.fromkeys(groups, time.monotonic())
        self._totals = {group: total for group, (_, total) in groups.items()}
        self._patience = patience
        self._reader = LagReader(settings, {group: of for group, (of, _) in groups.items()})

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        await super().__aexit__(*raised)
        await self._reader.close()

    async def _run(self) -> None:
        failed = 0
        while True:
            try:
                read = await self._reader.read()
            except BrokerError:  # a busy machine: an answer may be late, but not again and again
                failed += 1
                if failed >= 10:
                    raise
                continue
            failed = 0
            for group, lag in read.items():
                committed = sum(of.committed or 0 for of in lag.partitions.values())
                if committed != self.committed[group]:
                    self._moved[group] = time.monotonic()
                self.committed[group] = committed
            await asyncio.sleep(POLL_SECONDS)

    def share(self, group: str) -> float:
        """Return the part of its messages that a group has committed."""
        return self.committed[group] / self._totals[group]

    async def reaches(self, group: str, share: float) -> None:
        """Wait until a group has committed a part of its messages.

        Raises:
            Stuck: it does not go on.
        """
        since = time.monotonic()
        while self.share(group) < share:
            self.check()
            still = time.monotonic() - max(self._moved[group], since)
            if still > self._patience:
                raise Stuck(
                    f"{group}: {self.committed[group]:,} of {self._totals[group]:,}, and none for {still:.0f} s"
                )
            await asyncio.sleep(POLL_SECONDS)
