"""Create topics and set their retention through the admin client (the embedded broker creates its own)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError, BrokerUnavailable
from alphapulse.kafka.client import connection, running
from alphapulse.topics import STATE_TOPICS, TOPICS, Topic

TOPIC_ALREADY_EXISTS = 36
INVALID_REPLICATION_FACTOR = 38

VISIBLE_SECONDS = 30.0
_POLL_SECONDS = 0.02


_HOUR_MS: Final = 3_600_000


def retained(wanted: Iterable[Topic], hours: Mapping[str, float]) -> tuple[Topic, ...]:
    """Return ``wanted`` with the retention in ``hours`` for the topics listed there."""
    return tuple(
        replace(topic, retention_ms=round(hours[topic.name] * _HOUR_MS)) if topic.name in hours else topic
        for topic in wanted
    )


async def apply_retention(settings: KafkaSettings, wanted: Iterable[Topic]) -> dict[str, int]:
    """Set the retention of existing topics to that of ``wanted``; return name → milliseconds of those changed.

    Writes all of a topic's settings, those of :meth:`Topic.broker_config`: nothing else sets any.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    topics = {topic.name: topic for topic in wanted}
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as client:
        try:
            told = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in topics])
            changed: dict[str, int] = {}
            for code, message, _, name, entries, *_ in (one for answer in told for one in answer.resources):
                if code:
                    raise BrokerError(f"topic {name}: {for_code(code).__name__}: {message}")
                kept = {str(entry[0]): str(entry[1]) for entry in entries}
                # The embedded broker keeps what fits, at any age.
                if kept.get("retention.ms", wanted_ms := str(topics[name].retention_ms)) != wanted_ms:
                    changed[name] = topics[name].retention_ms
            if changed:
                resources = [
                    ConfigResource(ConfigResourceType.TOPIC, name, configs=topics[name].broker_config())
                    for name in changed
                ]
                for answer in await client.alter_configs(resources):
                    for code, message, _, name in answer.resources:
                        if code:
                            raise BrokerError(f"topic {name}: {for_code(code).__name__}: {message}")
        except KafkaError as error:
            raise BrokerError(f"cannot set retention on the broker at {settings.bootstrap}: {error}") from error
    return changed


async def create_topics(
    settings: KafkaSettings, replication: int, wanted: Iterable[Topic] = (*TOPICS, *STATE_TOPICS)
) -> dict[str, bool]:
    """Create every topic of ``wanted`` that does not exist; return name → whether it was created now.

    A broker learns of a topic a moment after its controller has created it; this waits for that.

    Raises:
        BrokerError: the broker cannot be reached or refuses a topic.
    """
    new = [NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.broker_config()) for topic in wanted]
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as client:
        try:
            answer = await client.create_topics(new)
            made = _made(answer.topic_errors)
            async with asyncio.timeout(VISIBLE_SECONDS):
                while not made.keys() <= set(await client.list_topics()):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
        except (KafkaError, TimeoutError) as error:
            reason = str(error) or f"topics not visible in the broker's metadata after {VISIBLE_SECONDS:g} s"
            raise BrokerError(f"cannot create topics on the broker at {settings.bootstrap}: {reason}") from error
    return made


def _made(answers: Iterable[Sequence[Any]]) -> dict[str, bool]:
    made: dict[str, bool] = {}
    for name, code, message, *_ in answers:
        if code == INVALID_REPLICATION_FACTOR:  # perhaps the other brokers are still starting
            raise BrokerUnavailable(f"topic {name}: fewer brokers than replicas: {message}")
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise BrokerError(f"topic {name}: {for_code(code).__name__}: {message}")
        made[name] = not code
    return made
