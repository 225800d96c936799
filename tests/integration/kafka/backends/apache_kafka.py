"""Apache Kafka, one node, shared by all tests of the session."""

from __future__ import annotations

from typing import ClassVar, Self

import pytest

from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.config import KafkaSettings
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
