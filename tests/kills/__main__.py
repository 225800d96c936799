"""``python -m tests.kills``: kill sinks on a real broker under full load, compare all they stored (``make kills``).

The exit code is not 0 if anything differs from the source, or if the kills did not come.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.kafka.admin import create_topics
from tests.kills.plan import SINKS, Plan
from tests.kills.scenario import Seen, play


async def run(plan: Plan, folder: Path) -> Seen:
    """Let it happen on a broker of its own."""
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)

    async with KafkaCluster(folder / "kafka", kafka_install.install()) as cluster:
        await create_topics(cluster.settings(), 1)
        return await play(plan, folder, cluster.settings(), tell)


def report(seen: Seen) -> list[str]:
    """Return the figures for people."""
    lines = [
        (
            f"{seen.messages:,} messages ({seen.plan.records:,} trades and L2 records, {seen.damaged:,} damaged, "
            f"the rest depths), seed {seen.plan.seed}, in {seen.seconds:.0f} s"
        )
    ]
    for name, kills in seen.kills.items():
        moments = ", ".join(f"{count} {moment}" for moment, count in sorted(kills.items()))
        traces = ", ".join(f"{count} {trace}" for trace, count in sorted(seen.traces[name].items()))
        lines.append(f"{name}: {kills.total()} instances killed ({moments})")
        lines.append(f"  {seen.moves[name]} joined or left in good order; {traces or 'no traces'}")
    lines.append(
        f"ClickHouse server away {seen.outages} times, {seen.plan.away:g} s each; {seen.files:,} Parquet files; "
        f"{seen.letters:,} dead letters of {seen.damaged:,} damaged messages"
    )
    for what, differences in seen.differences.items():
        lines.append(f"{what}: {'equal to the source' if not differences else 'DIFFERENT'}")
        lines += differences
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it once; return the exit code."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description="Kill sinks under load, compare.")
    parser.add_argument("--records", type=int, default=usual.records, help=f"default {usual.records}")
    parser.add_argument("--kills", type=int, default=usual.kills, help=f"of each sink, default {usual.kills}")
    parser.add_argument("--outages", type=int, default=usual.outages, help=f"of ClickHouse, default {usual.outages}")
    parser.add_argument("--away", type=float, default=usual.away, help=f"seconds each, default {usual.away:g}")
    parser.add_argument("--seed", type=int, default=usual.seed, help=f"default {usual.seed}")
    parser.add_argument("--sinks", default=",".join(SINKS), help=f"default {','.join(SINKS)}")
    parser.add_argument("--session-ms", type=int, default=usual.session_ms, help=f"default {usual.session_ms}")
    parser.add_argument("--keep", type=Path, help="a new folder for logs and data, kept (default: a temporary one)")
    options = parser.parse_args(arguments)
    sinks = tuple(options.sinks.split(","))
    if unknown := set(sinks) - set(SINKS):
        parser.error(f"--sinks: {', '.join(sorted(unknown))}: expected some of {', '.join(SINKS)}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    plan = Plan(
        records=options.records,
        kills=options.kills,
        outages=options.outages,
        away=options.away,
        seed=options.seed,
        sinks=sinks,
        session_ms=options.session_ms,
    )
    if (lacking := kafka_install.missing()) is not None:
        print(lacking, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep if options.keep is not None else Path(temporary)
        seen = asyncio.run(run(plan, folder))
    print("\n".join(report(seen)))
    return 1 if any(seen.differences.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
