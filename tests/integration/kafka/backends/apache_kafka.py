"""Apache Kafka, one node, shared by all tests of the session."""

from __future__ import annotations

from typing import ClassVar, Self

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.config import KafkaSettings
from alphapulse.kafka import connection, running
from alphapulse.kafka.admin import create_topics
from alphapulse.topics import Topic
from tests.fixtures.kafka_cluster import ON_KAFKA, quick
from tests.integration.kafka.backends import Backend


class ApacheKafka(Backend):
    """The session's node; it goes on when a module's tests end."""

    name: ClassVar[str] = "apache_kafka"
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = (ON_KAFKA,)

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster

    @classmethod
    def make(cls, request: pytest.FixtureRequest) -> Self:
        """Return it over the session's cluster."""
        return cls(request.getfixturevalue("kafka_cluster"))

    @classmethod
    def missing(cls) -> str | None:
        """Java, or Maven to fetch Kafka with."""
        return kafka_install.missing()

    def start(self) -> None:
        """Nothing: it runs. Each test has topics and groups of its own."""

    def stop(self) -> None:
        """Nothing: the next module needs it."""

    def settings(self) -> KafkaSettings:
        """Return its settings with a session of two seconds."""
        return quick(self._cluster.settings()).model_copy(update={"incarnation": ""})

    async def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        assert await create_topics(self.settings(), 1, [Topic(name, 3_600_000, partitions)]) == {name: True}

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop records."""
        settings = self.settings()
        async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})
