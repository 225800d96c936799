"""The brokers that the suite of ``tests/integration/kafka`` runs over: one module here each, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from alphapulse.config import KafkaSettings
from alphapulse.kafka import connection, running
from alphapulse.kafka.admin import create_topics
from alphapulse.topics import Topic


class Backend(ABC):
    """A broker of its own for the tests of one module."""

    name: ClassVar[str]
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()
    """Of the tests that run on it."""

    @classmethod
    def make(cls, request: pytest.FixtureRequest) -> Self:
        """Return one that does not run yet."""
        return cls()

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return what this machine lacks to run it, None if nothing."""

    @abstractmethod
    def start(self) -> None:
        """Start it, empty."""

    @abstractmethod
    def stop(self) -> None:
        """End it and all it holds."""

    @abstractmethod
    def settings(self) -> KafkaSettings:
        """Return client settings, with the shortest session that it allows."""

    async def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        assert await create_topics(self.settings(), 1, [Topic(name, 3_600_000, partitions)]) == {name: True}

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop a partition's records below offset ``before``, as retention would."""
        settings = self.settings()
        async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})


def backends() -> list[type[Backend]]:
    """Return every backend, by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(Backend.__subclasses__(), key=lambda backend: backend.name)
