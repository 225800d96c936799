"""``python -m tests.rolling``: restart every service under load, twice, and print what that did (``make rolling``).

Three broker nodes, two simulated exchanges, every service as a process, clients of the gateway. Collectors and
processors are replaced by a process beside the old one; sinks and gateway, whose folder or port belongs to one process,
are stopped first. The exit code is not 0 if a promise of docs/upgrade.md was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.kafka.admin import create_topics
from tests.rolling.blue_green import BlueGreen
from tests.rolling.play import Plan, Seen, Stage
from tests.rolling.verdict import broken, report
from tests.rolling.watch import Watch

REPLICATION = {"replica.fetch.min.bytes": "65536", "replica.fetch.wait.max.ms": "100"}
"""By default a follower asks for every batch, which takes most of a small machine on which all three nodes run."""

LEAST_LOAD = 0.9
"""With a smaller part of the frames asked for, the figures are not what they say."""


async def run(stage: type[Stage], plan: Plan, folder: Path, nodes: int) -> tuple[Seen, Watch]:
    """Let it happen on a cluster of its own."""
    async with KafkaCluster(
        folder / "kafka", kafka_install.install(), nodes=nodes, properties=lambda _: REPLICATION
    ) as cluster:
        await create_topics(cluster.settings(), min(nodes, 3))
        return await stage(plan, folder, cluster.settings(), partial(print, flush=True)).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it once; return the exit code."""
    parser = argparse.ArgumentParser(description="Restart every service under load.")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="frames a second in total (default 2000)")
    parser.add_argument("--clients", type=int, default=Plan.clients, help="of the gateway (default 200)")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="how often each service restarts (default 2)")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=3, help="of the broker (default 3)")
    parser.add_argument(
        "--blue-green", action="store_true", help="a second release beside the first, instead of restarts"
    )
    parser.add_argument("--keep", type=Path, help="a new folder for logs and data, kept (default: a temporary one)")
    options = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    plan = Plan(rate=options.rate, clients=options.clients, rounds=options.rounds)
    if (lacking := kafka_install.missing()) is not None:
        print(lacking, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep if options.keep is not None else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seen, watch = asyncio.run(run(BlueGreen if options.blue_green else Stage, plan, folder, options.nodes))
    faults = broken(seen, watch)
    if seen.frames < LEAST_LOAD * plan.rate:
        faults.append(f"only {seen.frames:,.0f} frames/s came")
    for line in (*report(seen, watch), *(f"BROKEN: {fault}" for fault in faults)):
        print(line)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
