"""Catalogue: what a store holds, by topic and by hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sinks.parquet.names import Stored, visible
from sinks.parquet.store import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """Files of a topic, in one hour or in all.

    Attributes:
        files: those that count.
        small: of these, files that share their hour and partition with others: a compaction would join them.
        bytes: size of the files that count.
        replaced: files that a compaction has replaced and not removed yet.
        first_hour: hours since the Unix epoch.
        last_hour: likewise.
        hours: number of hours that have files.
        partitions: number of partitions that have files.
    """

    topic: str
    files: int
    small: int
    bytes: int
    replaced: int
    first_hour: int
    last_hour: int
    hours: int
    partitions: int


def topics(store: Store, wanted: Sequence[str] = ()) -> list[str]:
    """Return the topics that a store has, or those of ``wanted`` that it has."""
    found = store.topics()
    return [topic for topic in found if not wanted or topic in wanted]


def current(store: Store, topic: str) -> list[Stored]:
    """Return the files of a topic that count: every stored row is in exactly one of them."""
    return visible(store.files(topic))[0]


def entry(topic: str, listed: Sequence[Stored]) -> Entry:
    """Return the entry of some files of a topic, at least one."""
    files, replaced = visible(listed)
    groups: dict[tuple[str, int, str], int] = defaultdict(int)
    for file in files:
        groups[file.folder, file.partition.partition, file.incarnation] += 1
    hours = {file.hour for file in files}
    return Entry(
        topic=topic,
        files=len(files),
        small=sum(count for count in groups.values() if count > 1),
        bytes=sum(file.size for file in files),
        replaced=len(replaced),
        first_hour=min(hours),
        last_hour=max(file.end for file in files) - 1,
        hours=len(hours),
        partitions=len({file.partition for file in files}),
    )


def by_topic(store: Store, wanted: Sequence[str] = ()) -> list[Entry]:
    """Return an entry for each topic that has files."""
    listed = ((topic, store.files(topic)) for topic in topics(store, wanted))
    return [entry(topic, files) for topic, files in listed if files]


def by_hour(store: Store, wanted: Sequence[str] = ()) -> list[Entry]:
    """Return an entry for each topic and hour."""
    found: list[Entry] = []
    for topic in topics(store, wanted):
        hours: dict[int, list[Stored]] = defaultdict(list)
        for file in store.files(topic):
            hours[file.hour].append(file)
        found += [entry(topic, files) for _, files in sorted(hours.items())]
    return found
