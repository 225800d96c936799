"""``alphapulse topics create``: the topics, on a broker that can make them."""

from __future__ import annotations

from alphapulse.config import Settings
from alphapulse.kafka.admin import create_topics


async def create(settings: Settings, replication: int) -> None:
    """Create every topic that does not exist yet, and print what was done.

    Raises:
        BrokerError: the broker cannot be reached or refuses a topic.
    """
    for name, made in (await create_topics(settings.kafka, replication)).items():
        print(f"{name}: {'created' if made else 'exists'}")
