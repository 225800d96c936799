"""Fixtures of the processors' integration tests."""

from __future__ import annotations

import pytest

from alphapulse.config import KafkaSettings


@pytest.fixture
def kafka_settings(kafka: KafkaSettings) -> KafkaSettings:
    """The embedded broker's settings, under a name that leaves ``kafka`` to the module."""
    return kafka
