"""``alphapulse topics create``: create the topics with the configured retention."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from alphapulse import output
from alphapulse.config import Settings
from alphapulse.errors import BrokerUnavailable
from alphapulse.kafka.admin import apply_retention, create_topics, retained
from alphapulse.kafka.waiting import check
from alphapulse.topics import STATE_TOPICS, TOPICS

_PAUSE_SECONDS: Final = 0.5
_HOUR_MS: Final = 3_600_000


async def create(settings: Settings, replication: int | None, wait_seconds: float = 0.0) -> None:
    """Create every topic that does not exist, set the retention of the others, and print the changes.

    Args:
        settings: broker, replicas and retention.
        replication: replicas of each partition; None: as configured.
        wait_seconds: maximum wait for a broker that does not answer.

    Raises:
        BrokerError: the broker cannot be reached or refuses a topic.
    """
    wanted = retained((*TOPICS, *STATE_TOPICS), settings.topics.retention_hours)
    deadline = time.monotonic() + wait_seconds
    told = ""
    while True:
        try:
            await check(settings.kafka)
            made = await create_topics(settings.kafka, replication or settings.topics.replication, wanted)
            break
        except BrokerUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            if str(error) != told:
                told = str(error)
                output.tell(f"waiting: {told}")
            await asyncio.sleep(_PAUSE_SECONDS)
    kept = await apply_retention(settings.kafka, [topic for topic in wanted if not made[topic.name]])
    for name, new in made.items():
        retention = f"; retention now {kept[name] / _HOUR_MS:g} h" if name in kept else ""
        print(f"{name}: {'created' if new else 'exists'}{retention}")
