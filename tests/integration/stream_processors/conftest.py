"""Fixtures of the processors' integration tests."""

from __future__ import annotations

import pytest

from alphapulse.config import KafkaSettings


@pytest.fixture
def kafka_settings(request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings of the embedded broker, or of the one whose fixture a test has as parameter."""
    settings: KafkaSettings = request.getfixturevalue(getattr(request, "param", "kafka"))
    return settings
