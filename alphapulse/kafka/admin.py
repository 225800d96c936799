"""Topics made through the admin client, on a broker that can (the embedded one cannot and has its own way)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.client import connection, running
from alphapulse.topics import STATE_TOPICS, TOPICS, Topic

TOPIC_ALREADY_EXISTS = 36

VISIBLE_SECONDS = 30.0
_POLL_SECONDS = 0.02


async def create_topics(
    settings: KafkaSettings, replication: int, wanted: Iterable[Topic] = (*TOPICS, *STATE_TOPICS)
) -> dict[str, bool]:
    """Make every topic of ``wanted`` that does not exist yet; return name → whether it was made now.

    A broker learns of a topic a moment after its controller has made it; this waits for that.

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
            reason = str(error) or f"not to be seen within {VISIBLE_SECONDS:g} s"
            raise BrokerError(f"cannot make topics on the broker at {settings.bootstrap}: {reason}") from error
    return made


def _made(answers: Iterable[Sequence[Any]]) -> dict[str, bool]:
    made: dict[str, bool] = {}
    for name, code, message, *_ in answers:
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise BrokerError(f"topic {name}: {for_code(code).__name__}: {message}")
        made[name] = not code
    return made
