"""What a run has published, and what of it is stored: counted by the offsets of topics and consumer groups.

A record is published when the broker has it, and stored when the sink has committed past it. Offsets count both,
whoever was killed in between; what services counted themselves is held against them.

Pure: offsets and figures come in, an account comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from alphapulse.kafka.lag import GroupLag, PartitionLag

Groups = Mapping[str, GroupLag]
"""Consumer group → its offsets, as :class:`~alphapulse.kafka.lag.LagReader` tells them."""

Counts = Mapping[str, int]
"""Topic → records."""


@dataclass(frozen=True)
class Account:
    """What became of a run's records; every field but ``published`` and ``data`` is empty if nothing is missing.

    Attributes:
        published: by topic, those of topics that a sink stores.
        unstored: sink → records by topic that it has not committed; earlier runs' among them.
        dropped: sink → records that the broker dropped before the sink could read them.
        unprocessed: by topic: the processors have not read them, and nothing was derived from them.
        vanished: by topic: acknowledged, as services counted, and not on the broker.
        endings: service → why its end was not in good order.
        unknown: why offsets could not be read; then nothing above is known.
    """

    published: Counts = field(default_factory=dict)
    unstored: Mapping[str, Counts] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    unprocessed: Counts = field(default_factory=dict)
    vanished: Counts = field(default_factory=dict)
    endings: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything that was published is processed and stored, and every service ended in good order."""
        missing = (self.unstored, self.dropped, self.unprocessed, self.vanished, self.endings, self.unknown)
        return not any(missing)

    def lines(self, place: str, *, kept: bool) -> list[str]:
        """Return the account for a person.

        Args:
            place: where the data is.
            kept: whether the broker keeps what is left, so that the next run reads it.
        """
        if self.unknown:
            return [f"what is stored cannot be told: {self.unknown}", *self._endings()]
        total = f"{sum(self.published.values()):,} records"
        if self.complete:
            return [f"{total}, all stored in {place}"]
        lines = [f"{total} published; stored in {place} but for:"]
        lines += [f"  {name} has not stored {_told(counts)}" for name, counts in sorted(self.unstored.items())]
        lines += [f"  {name}: the broker dropped {count:,} unread" for name, count in sorted(self.dropped.items())]
        if self.unprocessed:
            lines.append(f"  processors have not read {_told(self.unprocessed)}: nothing is derived from them")
        if self.vanished:
            lines.append(f"  the broker has lost {_told(self.vanished)} after it had acknowledged them")
        if len(lines) == 1:
            lines = [f"{total}, all stored in {place}"]
        elif self.unstored or self.unprocessed:
            again = "a run with the same folder reads them" if kept else "they were in memory only and are lost"
            lines.append(f"  what was not read: {again}")
        return lines + self._endings()

    def _endings(self) -> list[str]:
        return [f"  {name} did not end in good order: {reason}" for name, reason in sorted(self.endings.items())]


def _told(counts: Counts) -> str:
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} records ({topics})"


class Ledger:
    """Opened when a run begins, closed when all have ended.

    Args:
        sinks: service → its consumer group.
        processors: the service and its consumer group.
        begin: the groups' offsets before anybody publishes.
    """

    def __init__(self, sinks: Mapping[str, str], processors: tuple[str, str], begin: Groups) -> None:
        self._sinks = dict(sinks)
        self._processors, group = processors
        self._group_of = {**self._sinks, self._processors: group}
        self._began = self._partitions(begin)

    def unread(self, groups: Groups) -> dict[str, dict[str, int]]:
        """Return service → records by topic that it has not committed; services that have all are left out.

        Those that the broker has dropped are among them.
        """
        found: dict[str, dict[str, int]] = {}
        for name, group in self._group_of.items():
            unread: Counter[str] = Counter()
            for key, lag in groups[group].partitions.items():
                read_to = lag.committed
                if read_to is None:  # it has read nothing of what was there when the run began, and nothing since
                    read_to = self._began[key].start if key in self._began else 0
                unread[key.topic] += lag.end - read_to
            if left := dict(+unread):
                found[name] = left
        return found

    def close(
        self, groups: Groups, *, acknowledged: Counts, dropped: Mapping[str, int], endings: Mapping[str, str]
    ) -> Account:
        """Return the account.

        Args:
            groups: the offsets now.
            acknowledged: by topic, as the services that publish counted; of some lives of theirs, or of all.
            dropped: sink → records it could not read any more.
            endings: service → why its end was not in good order.
        """
        grown: Counter[str] = Counter()
        for key, lag in self._partitions(groups).items():
            grown[key.topic] += lag.end - (self._began[key].end if key in self._began else 0)
        stored = {key.topic for group in self._sinks.values() for key in groups[group].partitions}
        unread = self.unread(groups)
        return Account(
            published={topic: count for topic, count in grown.items() if topic in stored},
            unprocessed=unread.pop(self._processors, {}),
            unstored=unread,
            dropped={name: count for name, count in dropped.items() if count},
            vanished=dict(+(Counter({topic: acknowledged.get(topic, 0) for topic in grown}) - grown)),
            endings={name: reason for name, reason in endings.items() if reason},
        )

    def _partitions(self, groups: Groups) -> dict[TopicPartition, PartitionLag]:
        return {key: lag for group in self._group_of.values() for key, lag in groups[group].partitions.items()}
