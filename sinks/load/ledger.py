"""What was loaded into topics, on the compacted topic ``state.loads``.

A record's key is ``incarnation/id`` of the broker's log and the source, its value a JSON object:

* ``state``: ``begun`` (also: killed or stopped), or ``done``
* ``source``: path of the file, for people; ``topic``; ``time`` of the record, nanoseconds
* ``starts``: partition → end of the topic's partition before the first record of the load
* ``numbers``: partition → number of the last record that the broker has acknowledged there
* ``ends``: partition → end of the partition when all records were acknowledged (``done``)
* ``records``: number of records (``done``)
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from alphapulse.config import Settings
from alphapulse.errors import BrokerError, ServiceError
from alphapulse.kafka import producer, running
from alphapulse.kafka.tail import tail_reader
from alphapulse.topics import LOADS_STATE

CLIENT: Final = "alphapulse-load"
PARTITION: Final = TopicPartition(LOADS_STATE.name, 0)


@dataclass(slots=True)
class Entry:
    """A load; see the module's documentation."""

    source: str
    topic: str
    state: Literal["begun", "done"] = "begun"
    time: int = 0
    starts: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    records: int = 0


class Ledger:
    """Reads and writes entries.

    Args:
        settings: the broker.
        incarnation: of its log: records of another one are gone.
    """

    def __init__(self, settings: Settings, incarnation: str) -> None:
        self._settings = settings
        self._incarnation = incarnation

    async def read(self, load: str) -> Entry | None:
        """Return the entry of a load; None: it was never begun.

        Raises:
            BrokerError: the broker cannot be reached or refuses.
            ServiceError: the entry is of another program.
        """
        wanted, found = self._key(load), list[bytes]()

        def take(_: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
            found.extend(record.value for record in records if record.key == wanted and record.value is not None)

        kafka = self._settings.kafka
        async with tail_reader(kafka, [PARTITION], client_id=CLIENT) as reader:
            await reader.read(await reader.held([PARTITION]), take)
        if not found:
            return None
        try:
            told: dict[str, Any] = json.loads(found[-1])
            for name in ("starts", "numbers", "ends"):
                told[name] = {int(partition): int(value) for partition, value in told[name].items()}
            return Entry(**told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ServiceError(f"{LOADS_STATE.name}: the entry of load {load} cannot be read: {error!r}") from error

    async def write(self, load: str, entry: Entry) -> None:
        """Write an entry; returns when the broker has acknowledged it.

        Raises:
            BrokerError: the broker cannot be reached or refuses.
        """
        entry.time = time.time_ns()
        kafka = self._settings.kafka
        async with running(producer(kafka, client_id=CLIENT), kafka) as writer:
            try:
                await writer.send_and_wait(
                    LOADS_STATE.name, json.dumps(asdict(entry)).encode(), key=self._key(load), partition=0
                )
            except KafkaError as error:
                raise BrokerError(f"the broker refuses records for {LOADS_STATE.name}: {error}") from error

    def _key(self, load: str) -> bytes:
        return f"{self._incarnation}/{load}".encode()
