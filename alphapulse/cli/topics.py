"""``alphapulse topics create``: the topics, on a broker that can make them."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from alphapulse import topics
from alphapulse.config import Settings
from alphapulse.errors import BrokerError

TOPIC_ALREADY_EXISTS = 36


async def create(settings: Settings, replication: int) -> None:
    """Create every topic that does not exist yet, and print what was done.

    Raises:
        BrokerError: the broker cannot be reached or refuses a topic.
    """
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        await client.start()
    except KafkaError as error:
        raise BrokerError(f"kafka.bootstrap: cannot reach {settings.kafka.bootstrap}: {error}") from error
    try:
        wanted = [
            NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.broker_config())
            for topic in (*topics.TOPICS, *topics.STATE_TOPICS)
        ]
        answer = await client.create_topics(wanted)
        for name, code, message in answer.topic_errors:
            if code not in (0, TOPIC_ALREADY_EXISTS):
                raise BrokerError(f"topic {name}: {for_code(code).__name__}: {message}")
            print(f"{name}: {'exists' if code else 'created'}")
    finally:
        await client.close()
