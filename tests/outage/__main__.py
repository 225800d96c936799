"""``python -m tests.outage``: kill a broker under load, bring it back, and print what that did (``make outage``).

The exit code is not 0 if a promise of README's "Run against real exchanges" was broken, or if the load did not come.
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
from alphapulse.config import PublisherSettings
from alphapulse.kafka.admin import create_topics
from producers.simulator.__main__ import names
from tests.outage.observed import Observed, Plan
from tests.outage.scenario import play
from tests.outage.verdict import judge, report

LEAST_LOAD = 0.9
"""With a smaller part of the frames asked for, the figures are not what they say."""


async def run(plan: Plan, folder: Path) -> Observed:
    """Let it happen on a broker of its own."""
    async with KafkaCluster(folder / "kafka", kafka_install.install()) as cluster:
        await create_topics(cluster.settings(), 1)
        return await play(plan, folder, cluster, partial(print, flush=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it once; return the exit code."""
    parser = argparse.ArgumentParser(description="Kill a broker under load and bring it back.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is away (default 60)")
    parser.add_argument("--rate", type=float, default=5_000.0, help="frames a second in total (default 5000)")
    parser.add_argument("--seed", type=int, default=1, help="of the market (default 1)")
    parser.add_argument("--times", type=int, default=1, help="how often it dies, back for 2 s in between (default 1)")
    parser.add_argument("--venues", type=names, default=Plan.venues, help=f"default: {','.join(Plan.venues)}")
    parser.add_argument("--max-bytes", type=int, help="max_in_flight_bytes, the only bound then")
    parser.add_argument("--keep", type=Path, help="a new folder for logs and data, kept (default: a temporary one)")
    options = parser.parse_args(arguments)
    if unknown := set(options.venues) - set(Plan.venues):
        parser.error(
            f"--venues: {', '.join(unknown)}: only {' and '.join(Plan.venues)} tell each change from the others"
        )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own clients', while the broker is away
    publisher = PublisherSettings()
    if options.max_bytes is not None:
        publisher = PublisherSettings(max_in_flight=10**9, max_in_flight_bytes=options.max_bytes)
    plan = Plan(
        away=options.seconds,
        rate=options.rate,
        times=options.times,
        venues=tuple(options.venues),
        seed=options.seed,
        publisher=publisher,
    )
    if (lacking := kafka_install.missing()) is not None:
        print(lacking, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep if options.keep is not None else Path(temporary)
        seen = asyncio.run(run(plan, folder))
    verdict = judge(seen)
    if seen.frames_per_second < LEAST_LOAD * plan.rate:
        verdict.broken.append(f"only {seen.frames_per_second:,.0f} frames/s came")
    for line in report(seen, verdict):
        print(line)
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
