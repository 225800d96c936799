"""A member of a group as a process of its own: ``python -m tests.integration.kafka.member TOPIC GROUP IMPLEMENTATION``.

Settings come from the environment. It tells what it does, one JSON object a line: the partitions it got and the
offsets it read; it commits after each batch and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError

from alphapulse import config
from alphapulse.kafka import running
from tests.integration.kafka.conftest import CONSUMERS


def tell(**fields: object) -> None:
    """Write one line."""
    print(json.dumps(fields), flush=True)  # noqa: T201


class Shares(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells what is assigned."""

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Nothing to do: everything read is committed or will be read again."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Tell them."""
        tell(assigned=sorted(partition.partition for partition in assigned))


async def main(topic: str, group: str, implementation: str) -> None:
    """Read and commit until standard input ends."""
    settings = config.load().kafka
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    reader = CONSUMERS[implementation](settings, topic, group_id=group, client_id="member", listener=Shares())
    async with running(reader, settings):
        while not ended.done():
            batches = await reader.getmany(timeout_ms=50)
            if not batches:
                continue
            tell(read=[[p.partition, record.offset] for p, records in batches.items() for record in records])
            try:
                await reader.commit()
            except CommitFailedError:
                tell(commit="refused")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
