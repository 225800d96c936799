"""Fixtures of the suite that holds for every broker."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest

from alphapulse.config import KafkaSettings
from tests.integration.kafka.backends import Backend, backends

NewTopic = Callable[[int], Awaitable[str]]


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
