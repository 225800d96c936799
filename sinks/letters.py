"""Dead letters as they are on ``dlq``: where each is, which are wanted, and reading them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from alphapulse.config import KafkaSettings
from alphapulse.errors import ArgumentsRefused, RecordRefused
from alphapulse.kafka.tail import tail_reader
from alphapulse.topics import DEAD_LETTERS, PARTITIONS
from schemas.codec import Codec
from schemas.records import DeadLetter

CLIENT: Final = "alphapulse-dlq"
_ID: Final = re.compile(r"(\d{1,9})/(\d{1,18})")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Place of a dead letter on ``dlq``; its id for people is ``partition/offset``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and its place."""

    position: Position
    record: DeadLetter

    @property
    def origin(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset of the refused record; None: it came from elsewhere, as a venue's frame does."""
        record = self.record
        if record.partition is None or record.offset is None:
            return None
        return record.source, record.partition, record.offset


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant; None: any.

    Attributes:
        service: that refused it.
        source: topic or address that it came from.
        reason: part of its reason or class of error, in any case of letters.
        since, until: nanoseconds since the Unix epoch; ``until`` is exclusive.
        ids: of the letters.
    """

    service: str | None = None
    source: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    ids: frozenset[Position] = frozenset()

    def meets(self, letter: Letter) -> bool:
        """Whether ``letter`` is meant."""
        record = letter.record
        told = f"{record.error}: {record.reason}".lower()
        return (
            (not self.ids or letter.position in self.ids)
            and self.service in (None, record.service)
            and self.source in (None, record.source)
            and (self.reason is None or self.reason.lower() in told)
            and (self.since is None or record.time >= self.since)
            and (self.until is None or record.time < self.until)
        )


def ids(texts: Iterable[str]) -> frozenset[Position]:
    """Return the letters that were named.

    Raises:
        ArgumentsRefused: naming each text that is no id.
    """
    found, faults = [], []
    for text in texts:
        parts = _ID.fullmatch(text)
        if parts is None:
            faults.append(f"{text!r:.80}: not the id of a dead letter (partition/offset, as dlq list shows it)")
        else:
            found.append(Position(int(parts[1]), int(parts[2])))
    if faults:
        raise ArgumentsRefused(faults)
    return frozenset(found)


async def read(
    settings: KafkaSettings, codec: Codec, wanted: Wanted, unreadable: Callable[[Position, str], None]
) -> list[Letter]:
    """Return the wanted dead letters that the broker has now, oldest first.

    Args:
        unreadable: told of each record on ``dlq`` that is no dead letter, and why.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    partitions = [TopicPartition(DEAD_LETTERS, number) for number in range(PARTITIONS)]
    found: list[Letter] = []

    def take(key: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            position = Position(key.partition, record.offset)
            try:
                letter = Letter(position, codec.decode_as(DeadLetter, record.value or b""))
            except RecordRefused as error:
                unreadable(position, str(error))
                continue
            if wanted.meets(letter):
                found.append(letter)

    async with tail_reader(settings, partitions, client_id=CLIENT) as reader:
        await reader.read(await reader.held(partitions), take)
    return sorted(found, key=lambda letter: (letter.record.time, letter.position))
