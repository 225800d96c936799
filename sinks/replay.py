"""Replays of dead letters, whatever they are stored in: what is replayed, and what becomes of it. Pure, no I/O.

A row's identity is the place of its record on the broker's log: topic, partition, offset. A dead letter keeps that
place, so a replay stores exactly the row that the sink would have stored, unless it is there already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiokafka import TopicPartition

from alphapulse.errors import RecordRefused
from alphapulse.topics import DEAD_LETTERS
from schemas.codec import Codec
from schemas.definitions import definitions
from schemas.records import Record

CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}
"""Topic → class of its records."""

Place: TypeAlias = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The bytes of a record, and its place."""

    topic: str
    partition: int
    offset: int
    value: bytes

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.topic, self.partition, self.offset

    def __str__(self) -> str:
        return f"{self.topic} [{self.partition}] {self.offset}"


@dataclass(slots=True)
class Outcome:
    """Result of a replay, by place.

    Attributes:
        stored: rows that were inserted.
        present: rows that were there.
        refused: place and reason of records that still cannot be decoded, or that are not stored there.
    """

    stored: list[Place] = field(default_factory=list)
    present: list[Place] = field(default_factory=list)
    refused: list[tuple[Place, str]] = field(default_factory=list)


def decoded(codec: Codec, records: Iterable[Refused], outcome: Outcome) -> dict[str, list[tuple[Refused, Record]]]:
    """Return the records by topic, each place once; those that are none go to ``outcome``.

    Raises:
        SchemaError: the schema registry cannot be reached.
    """
    places = {one.place: one for one in records}
    found: dict[str, list[tuple[Refused, Record]]] = defaultdict(list)
    for place, one in places.items():
        kind = CLASS_OF.get(one.topic)
        if kind is None or one.topic == DEAD_LETTERS:
            outcome.refused.append((place, "no table takes records of it"))
            continue
        try:
            record = codec.decode_as(kind, one.value)
        except RecordRefused as error:
            outcome.refused.append((place, str(error)))
        else:
            found[one.topic].append((one, record))
    return dict(found)


def passed(
    records: Iterable[Refused], group: str, topics: Collection[str], commits: Mapping[TopicPartition, int | None]
) -> tuple[list[Refused], list[tuple[Place, str]]]:
    """Return the records that a sink has behind it, each place once, and place and reason of the others.

    What it has still to read it may store itself, if another service refused it; stored before, it would be doubled.

    Args:
        group: of the sink.
        topics: that it stores.
        commits: of the group, by partition.
    """
    kept: list[Refused] = []
    left: list[tuple[Place, str]] = []
    for one in {one.place: one for one in records}.values():
        commit = commits.get(TopicPartition(one.topic, one.partition))
        if one.topic in topics and (commit is None or commit <= one.offset):
            told = "committed nothing of it" if commit is None else f"committed up to offset {commit}"
            reason = f"the sink may still read it (its group {group} has {told}): replay it again later"
            left.append((one.place, reason))
        else:
            kept.append(one)
    return kept, left
