"""Account of a run: records published and records stored, from the offsets of topics and consumer groups.

A record is published when the broker has it, and stored when the sink has committed past it. Offsets count both, even
if processes were killed in between; they are compared with the services' own counters.

Pure: offsets and counters in, an account out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from alphapulse.kafka.lag import GroupLag, PartitionLag

Groups = Mapping[str, GroupLag]
"""Consumer group → its offsets, as returned by :class:`~alphapulse.kafka.lag.LagReader`."""

Counts = Mapping[str, int]
"""Topic → records."""


@dataclass(frozen=True)
class Account:
    """Result of a run; every field but ``published`` and ``data`` is empty if nothing is missing.

    Attributes:
        published: records by topic, for topics that a sink stores.
        unstored: sink → records by topic that it has not committed, including those of earlier runs.
        dropped: sink → records that the broker dropped before the sink read them.
        unprocessed: records by topic that the processors have not read; nothing was derived from them.
        vanished: records by topic that services counted as acknowledged and the broker does not have.
        endings: service → why it did not end cleanly.
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
        """Whether every published record is processed and stored, and every service ended cleanly."""
        missing = (self.unstored, self.dropped, self.unprocessed, self.vanished, self.endings, self.unknown)
        return not any(missing)

    def lines(self, place: str, *, kept: bool) -> list[str]:
        """Format the account for the user.

        Args:
            place: location of the data.
            kept: whether the broker keeps unread records for the next run.
        """
        if self.unknown:
            return [f"the number of stored records is unknown: {self.unknown}", *self._endings()]
        total = f"{sum(self.published.values()):,} records"
        if self.complete:
            return [f"{total}, all stored in {place}"]
        lines = [f"{total} published; stored in {place} except:"]
        lines += [f"  {name} has not stored {_told(counts)}" for name, counts in sorted(self.unstored.items())]
        lines += [f"  {name}: the broker dropped {count:,} unread" for name, count in sorted(self.dropped.items())]
        if self.unprocessed:
            lines.append(f"  processors have not read {_told(self.unprocessed)}; nothing was derived from them")
        if self.vanished:
            lines.append(f"  the broker lost {_told(self.vanished)} that it had acknowledged")
        if len(lines) == 1:
            lines = [f"{total}, all stored in {place}"]
        elif self.unstored or self.unprocessed:
            again = "the next run with the same folder reads them" if kept else "they were only in memory and are lost"
            lines.append(f"  unread records: {again}")
        return lines + self._endings()

    def _endings(self) -> list[str]:
        return [f"  {name} did not end cleanly: {reason}" for name, reason in sorted(self.endings.items())]


def _told(counts: Counts) -> str:
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} records ({topics})"


class Ledger:
    """Ledger of a run, opened at its start and closed when all services have ended.

    Args:
        sinks: service → its consumer group.
        processors: the service and its consumer group.
        begin: the groups' offsets before anything is published.
    """

    def __init__(self, sinks: Mapping[str, str], processors: tuple[str, str], begin: Groups) -> None:
        self._sinks = dict(sinks)
        self._processors, group = processors
        self._group_of = {**self._sinks, self._processors: group}
        self._began = self._partitions(begin)

    def unread(self, groups: Groups) -> dict[str, dict[str, int]]:
        """Return service → records by topic that it has not committed; services without any are left out.

        Records that the broker has dropped are included.
        """
        found: dict[str, dict[str, int]] = {}
        for name, group in self._group_of.items():
            unread: Counter[str] = Counter()
            for key, lag in groups[group].partitions.items():
                read_to = lag.committed
                if read_to is None:  # no record was committed, before the run or since
                    read_to = self._began[key].start if key in self._began else 0
                unread[key.topic] += lag.end - read_to
            if left := dict(+unread):
                found[name] = left
        return found

    def close(
        self, groups: Groups, *, acknowledged: Counts, dropped: Mapping[str, int], endings: Mapping[str, str]
    ) -> Account:
        """Close the ledger and return the account.

        Args:
            groups: the offsets now.
            acknowledged: records by topic, as counted by the services; may lack some of their processes.
            dropped: sink → records dropped before it read them.
            endings: service → why it did not end cleanly.
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
