"""One load into the topics of a broker at a time, by membership in a consumer group.

The broker keeps a killed member in the group until its session ends (``kafka.session_timeout_ms``). So whoever is the
only member knows that no load is at work, and that what a killed one had sent has arrived long ago: only then can it
see what the other has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import NativeConsumer, native_consumer, running
from alphapulse.kafka.client import connection
from alphapulse.kafka.services import LOADS_GROUP
from sinks.load.ledger import CLIENT, PARTITION

_POLL_SECONDS: Final = 0.5
_POLL_MS: Final = 10
_ASSIGNED_SECONDS: Final = 60.0


async def members(settings: KafkaSettings, groups: Sequence[str]) -> dict[str, int]:
    """Return the number of members of each group.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    found: dict[str, int] = {}
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
        try:
            for answer in await admin.describe_consumer_groups(list(groups)):
                # error, name, state, protocol type, protocol, members, …
                found |= {str(one[1]): len(one[5]) for one in answer.groups}
        except KafkaError as error:
            raise BrokerError(f"cannot read the groups of the broker at {settings.bootstrap}: {error}") from error
    return found


class LoadLock(ConsumerRebalanceListener):  # type: ignore[misc]
    """The lock, as an async context manager.

    Args:
        settings: the broker.
        tell: told that another load is waited for.
    """

    def __init__(self, settings: KafkaSettings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._held = asyncio.Event()
        self._lost = False
        self._reader: NativeConsumer | None = None

    async def __aenter__(self) -> Self:
        told = False
        while (await members(self._settings, [LOADS_GROUP])).get(LOADS_GROUP):
            if not told:
                self._tell("waiting: another load is at work, or one was killed a moment ago")
                told = True
            await asyncio.sleep(_POLL_SECONDS)
        # librdkafka sends heartbeats in a thread of its own: a busy or slow event loop does not lose the lock.
        self._reader = native_consumer(self._settings, group_id=LOADS_GROUP, client_id=CLIENT)
        self._reader.subscribe([PARTITION.topic], listener=self)
        try:
            await self._reader.start()
            async with asyncio.timeout(_ASSIGNED_SECONDS):
                await self._held.wait()
        except (KafkaError, TimeoutError) as error:
            await self._reader.stop()
            reason = str(error) or "another load was faster"
            raise BrokerError(f"cannot begin a load on the broker at {self._settings.bootstrap}: {reason}") from error
        self._reader.pause(PARTITION)
        return self

    async def check(self) -> None:
        """Keep the lock; to be called at least every few minutes.

        Raises:
            BrokerError: it is lost.
        """
        if self._reader is not None:
            await self._reader.getmany(PARTITION, timeout_ms=_POLL_MS)
        if self._lost:
            raise BrokerError("this load has lost its place to another one; repeat it")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            await self._reader.stop()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Note that the lock may be lost."""
        self._lost = self._lost or bool(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Note that the lock is held."""
        if PARTITION in assigned:
            self._held.set()
