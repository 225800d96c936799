"""How a consumer group shares out its partitions: by range, the same numbers of all topics to the same member."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


@cache
def range_assignor(settle_ms: int) -> type[AbstractPartitionAssignor]:
    """Return the range assignor; with ``settle_ms`` its leader waits that long when there are other members.

    The embedded broker gives out the assignments as soon as the leader has sent them, and refuses a member that asks
    afterwards; a real broker keeps them for it. The wait lets the others ask first. It blocks the leader's event loop,
    because an assignor is a plain function; a group that is being rebalanced has nothing to read anyway.
    """
    if settle_ms == 0:
        return RangePartitionAssignor  # type: ignore[no-any-return]

    class SettlingRangeAssignor(RangePartitionAssignor):  # type: ignore[misc]
        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            if len(members) > 1:
                time.sleep(settle_ms / 1000)
            shares: dict[str, ConsumerProtocolMemberAssignment] = super().assign(cluster, members)
            return shares

    return SettlingRangeAssignor
