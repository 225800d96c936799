"""What was done with dead letters, on the compacted topic ``state.dlq``.

A record's key is ``incarnation/partition/offset`` of the letter on ``dlq``, its value a JSON object: ``action``
(``replayed`` or ``dropped``), ``into`` (where it was replayed into; without it, ClickHouse) and ``time`` (nanoseconds).
It decides what ``list`` shows, never whether a row is stored once: a replay is safe to repeat without it
(:mod:`sinks.replay`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from alphapulse.config import Settings
from alphapulse.errors import BrokerError
from alphapulse.kafka import producer, running
from alphapulse.kafka.admin import create_topics
from alphapulse.kafka.tail import tail_reader
from alphapulse.topics import LETTERS_STATE
from sinks.letters import CLIENT, Position

Action: TypeAlias = Literal["replayed", "dropped"]
Into: TypeAlias = Literal["clickhouse", "parquet"]
_PARTITION: Final = TopicPartition(LETTERS_STATE.name, 0)


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with a letter last.

    Attributes:
        action: what.
        into: where its row is.
    """

    action: Action
    into: frozenset[Into] = frozenset()

    def settles(self, into: Into) -> bool:
        """Whether a replay into ``into`` has nothing left to do."""
        return self.action == "dropped" or into in self.into


class Outcomes:
    """Reads and writes what was done.

    Args:
        settings: broker, and replicas of the topic.
        incarnation: of the broker's log: positions of another one are other letters.
    """

    def __init__(self, settings: Settings, incarnation: str) -> None:
        self._settings = settings
        self._incarnation = incarnation

    async def read(self) -> dict[Position, Done]:
        """Return letter → last action.

        Raises:
            BrokerError: the broker cannot be reached or refuses.
        """
        kafka = self._settings.kafka
        await create_topics(kafka, self._settings.topics.replication, [LETTERS_STATE])
        found: dict[Position, Done] = {}

        def take(_: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
            for record in records:
                incarnation, partition, offset = (record.key or b"").decode().rsplit("/", 2)
                if incarnation == self._incarnation and record.value is not None:
                    told = json.loads(record.value)
                    into = told.get("into", ["clickhouse"] if told["action"] == "replayed" else [])
                    found[Position(int(partition), int(offset))] = Done(told["action"], frozenset(into))

        async with tail_reader(kafka, [_PARTITION], client_id=CLIENT) as reader:
            await reader.read(await reader.held([_PARTITION]), take)
        return found

    async def write(self, positions: Mapping[Position, Done]) -> None:
        """Note what was done; returns when the broker has acknowledged it.

        Raises:
            BrokerError: the broker cannot be reached or refuses.
        """
        kafka = self._settings.kafka
        now = time.time_ns()
        async with running(producer(kafka, client_id=CLIENT), kafka) as writer:
            for position, done in positions.items():
                value = json.dumps({"action": done.action, "into": sorted(done.into), "time": now}).encode()
                key = f"{self._incarnation}/{position}".encode()
                try:
                    await writer.send_and_wait(LETTERS_STATE.name, value, key=key, partition=0)
                except KafkaError as error:
                    raise BrokerError(f"the broker refuses records for {LETTERS_STATE.name}: {error}") from error
