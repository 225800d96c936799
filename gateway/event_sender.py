"""Publishes events of the gateway to ``ops.events``."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from alphapulse.errors import BrokerError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Event, key_of


class EventSender:
    """Sends events one at a time.

    Args:
        producer: started.
        codec: encodes.
    """

    def __init__(self, producer: AIOKafkaProducer, codec: Codec) -> None:
        self._producer = producer
        self._codec = codec

    async def publish(self, event: Event) -> None:
        """Publish an event and wait until the broker has it.

        Raises:
            BrokerError: the broker refuses it.
        """
        try:
            await self._producer.send_and_wait(TOPIC_OF[Event], self._codec.encode(event), key=key_of(event))
        except KafkaError as error:
            raise BrokerError(f"the broker refuses an event of {event.service}: {error}") from error
