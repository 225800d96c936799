"""Tests of how a group shares out its partitions."""

from __future__ import annotations

import time

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from alphapulse.kafka.assignor import range_assignor


class Cluster(ClusterMetadata):  # type: ignore[misc]
    """Every topic has twelve partitions."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return their numbers."""
        return set(range(12))


def share(settle_ms: int, *members: str) -> dict[str, list[tuple[str, list[int]]]]:
    """Return member → (topic, partitions)."""
    assignor = range_assignor(settle_ms)
    asked: dict[str, ConsumerProtocolMemberMetadata] = {
        member: assignor.metadata(["md.l2", "md.trades"]) for member in members
    }
    return {member: sorted(got.assignment) for member, got in assignor.assign(Cluster(), asked).items()}


@pytest.mark.parametrize("settle_ms", [0, 1])
def test_members_get_the_same_partitions_of_all_topics(settle_ms: int) -> None:
    """So that the L2 updates and the trades of an instrument meet in one process."""
    shares = share(settle_ms, "a", "b", "c")
    assert shares == {
        "a": [("md.l2", [0, 1, 2, 3]), ("md.trades", [0, 1, 2, 3])],
        "b": [("md.l2", [4, 5, 6, 7]), ("md.trades", [4, 5, 6, 7])],
        "c": [("md.l2", [8, 9, 10, 11]), ("md.trades", [8, 9, 10, 11])],
    }


def test_only_a_leader_with_followers_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    share(150, "a")
    assert waits == []
    share(150, "a", "b")
    assert waits == [0.15]
    share(0, "a", "b")
    assert waits == [0.15]


def test_members_with_and_without_the_wait_understand_one_another() -> None:
    assert range_assignor(0) is RangePartitionAssignor
    assert range_assignor(150).name == RangePartitionAssignor.name
    assert range_assignor(150) is range_assignor(150)
