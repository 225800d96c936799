"""Fixtures of the suite that holds for every broker."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import pytest

from alphapulse import kafka
from alphapulse.config import KafkaSettings
from tests.integration.kafka.backends import Backend, backends

NewTopic = Callable[[int], Awaitable[str]]

NewConsumer = Callable[..., kafka.AnyConsumer]
"""Takes the arguments of :func:`alphapulse.kafka.consumer`."""

CONSUMERS: Final[dict[str, NewConsumer]] = {"aiokafka": kafka.consumer, "native": kafka.native_consumer}
"""The implementations of a consumer, of which all that is promised must hold."""


@pytest.fixture(params=CONSUMERS)
def implementation(request: pytest.FixtureRequest) -> str:
    """The name of each implementation in turn."""
    name: str = request.param
    return name


@pytest.fixture
def consumer(implementation: str) -> NewConsumer:
    """What makes its consumers."""
    return CONSUMERS[implementation]


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=kind.marks, id=kind.name) for kind in backends()])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each broker in turn, running."""
    kind: type[Backend] = request.param
    if (lacking := kind.missing()) is not None:
        pytest.skip(f"broker {kind.name}: {lacking}")
    running = kind.make(request)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def settings(backend: Backend) -> KafkaSettings:
    """Client settings for the broker."""
    return backend.settings()


@pytest.fixture
def new_topic(backend: Backend) -> NewTopic:
    """``await new_topic(partitions)`` makes an empty topic and returns its name."""

    async def make(partitions: int) -> str:
        name = f"test.{uuid.uuid4().hex}"
        await backend.create_topic(name, partitions)
        return name

    return make


@pytest.fixture
def group() -> str:
    """A group that no other test has used."""
    return f"group-{uuid.uuid4().hex}"
