"""The broker of docker-compose.yml in a container, shared by all tests of the session."""

from __future__ import annotations

from typing import ClassVar, Self

import pytest

from alphapulse.config import KafkaSettings
from tests.fixtures.containers import IN_CONTAINERS
from tests.integration.kafka.backends import Backend


class Container(Backend):
    """Redpanda or, in its place, what the stand-ins have; it goes on when a module's tests end."""

    name: ClassVar[str] = "container"
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = IN_CONTAINERS

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    @classmethod
    def make(cls, request: pytest.FixtureRequest) -> Self:
        """Return it over the session's container; skips or fails where there is none."""
        return cls(request.getfixturevalue("kafka_container"))

    @classmethod
    def missing(cls) -> str | None:
        """Nothing that is known before the container is asked for."""
        return None

    def start(self) -> None:
        """Nothing: it runs. Each test has topics and groups of its own."""

    def stop(self) -> None:
        """Nothing: the next module needs it."""

    def settings(self) -> KafkaSettings:
        """Return its settings, with a session of six seconds."""
        return self._settings
