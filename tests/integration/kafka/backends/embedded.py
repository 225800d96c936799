"""The embedded broker, within the test's own process."""

from __future__ import annotations

from typing import ClassVar

from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings
from tests.integration.kafka.backends import Backend


class Embedded(Backend):
    """Our own in-memory broker."""

    name: ClassVar[str] = "embedded"

    def __init__(self) -> None:
        self._broker = EmbeddedBroker({})

    @classmethod
    def missing(cls) -> str | None:
        """Nothing: it comes with our dependencies."""
        return None

    def start(self) -> None:
        """Start it."""
        self._broker.start()

    def stop(self) -> None:
        """End it."""
        self._broker.stop()

    def settings(self) -> KafkaSettings:
        """Return its settings with a session of two seconds, after which a member that was killed is given up."""
        return self._broker.settings().model_copy(
            update={"incarnation": "", "session_timeout_ms": 2_000, "heartbeat_interval_ms": 200}
        )

    async def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        self._broker.create_topic(name, partitions)

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop records."""
        self._broker.delete_records(topic, partition, before)
