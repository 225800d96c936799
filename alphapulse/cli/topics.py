"""``alphapulse topics create``: the topics, on a broker that can make them."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from alphapulse.config import Settings
from alphapulse.errors import BrokerUnavailable
from alphapulse.kafka.admin import create_topics
from alphapulse.kafka.waiting import check

_PAUSE_SECONDS: Final = 0.5


async def create(settings: Settings, replication: int, wait_seconds: float = 0.0) -> None:
    """Create every topic that does not exist yet, and print what was done.

    Args:
        settings: names the broker.
        replication: replicas of each partition.
        wait_seconds: how long to wait for a broker that does not answer.

    Raises:
        BrokerError: the broker cannot be reached or refuses a topic.
    """
    deadline = time.monotonic() + wait_seconds
    told = ""
    while True:
        try:
            await check(settings.kafka)
            break
        except BrokerUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            if str(error) != told:
                told = str(error)
                print(f"waiting: {told}", file=sys.stderr, flush=True)
            await asyncio.sleep(_PAUSE_SECONDS)
    for name, made in (await create_topics(settings.kafka, replication)).items():
        print(f"{name}: {'created' if made else 'exists'}")
