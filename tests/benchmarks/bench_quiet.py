"""What the stack costs between silence and saturation: processor time of each service at everyday rates.

``python -m tests.benchmarks.bench_quiet [--baseline CHECKOUT] [--traced RATIO …] [--broker embedded|kafka|both]
[--records N …] [--seconds S] [--rounds N] [--pages N]``:
three simulated venues, their collectors, processors, both sinks and the gateway with one page open, as
in the demo, at 0, 50, 500 and 5,000 records a second. Per cent of one core, and how old a trade (since the venue sent
it) and a book (since the collector received its last change) are when they reach the page's socket.

``--baseline`` is the checkout of another commit with its own ``.venv`` (``git worktree add ../old COMMIT && make -C
../old .venv/.dev``); ``--traced`` is this checkout with traces of that share of the frames, sent to a receiver. All are
measured in turns, and the ratio of the first two is printed; of several rounds, the median of each figure. Nothing else
should run on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphapulse.brokers.kafka import install as kafka_install
from tests.fixtures.otlp import receiving

ROOT = Path(__file__).resolve().parents[2]
STACK = Path(__file__).with_name("quiet_stack.py")
RATES = (0.0, 50.0, 500.0, 5000.0)
PATIENCE_SECONDS = 180.0


async def figures(
    checkout: Path, variables: Mapping[str, str], broker: str, records: float, seconds: float, pages: int = 1
) -> dict[str, Any]:
    """Return what the stack of a checkout costs, with further environment variables.

    Raises:
        RuntimeError: it failed; its last words are in the text.
    """
    arguments = ["--broker", broker, "--records", f"{records:g}", "--seconds", f"{seconds:g}"]
    arguments += ["--pages", str(pages)]
    process = await asyncio.create_subprocess_exec(
        str(checkout / ".venv/bin/python"),
        str(STACK),
        *arguments,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS + seconds)
    if process.returncode:
        raise RuntimeError(f"{checkout} at {records:g} records/s on {broker}: {err.decode()[-2000:]}")
    found: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return found


def median(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of several rounds as one, each the median of its own."""

    def of(values: list[Any]) -> Any:
        if isinstance(values[0], dict):
            return {key: of([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], list):
            return [of(list(column)) for column in zip(*values, strict=True)]
        return statistics.median(values)

    return {key: of([one[key] for one in found]) for key in found[0]}


def show(broker: str, records: float, found: dict[str, dict[str, Any]]) -> None:
    """Print the figures of the contenders at one rate, side by side."""
    names = list(found)
    print(f"\n{broker} broker, {records:g} records/s, % of a core{''.join(f'{name:>12}' for name in names)}")

    def line(title: str, values: list[float], form: str) -> None:
        ratio = f"{'×':>5} {values[0] / values[1]:.2f}" if len(values) > 1 and values[1] else ""
        print(f"  {title:<36}" + "".join(f"{value:>12{form}}" for value in values) + ratio)

    for service in next(iter(found.values()))["cpu"]:
        line(service, [found[name]["cpu"].get(service, 0.0) for name in names], ".1f")
    line("all", [sum(found[name]["cpu"].values()) for name in names], ".1f")
    line("records/s", [found[name]["records_per_second"] for name in names], ".0f")
    line("lag at the end, all groups", [float(sum(found[name]["lag"].values())) for name in names], ".0f")
    for what in ("trades", "books"):
        for at, title in enumerate(("p50", "p99")):
            line(f"{what} on the page, ms, {title}", [found[name][f"{what}_ms"][at] for name in names], ".1f")


def spread(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print each round's sum over all services, to tell a difference from noise."""
    for name, rounds in found.items():
        print(f"  all, each round, {name:<20}" + "".join(f"{sum(one['cpu'].values()):8.1f}" for one in rounds))


async def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_quiet", description=__doc__.split("\n")[0])
    parser.add_argument("--baseline", type=Path, help="a checkout of another commit, with its own .venv")
    parser.add_argument("--broker", choices=("embedded", "kafka", "both"), default="both")
    parser.add_argument("--records", type=float, nargs="+", default=list(RATES), metavar="N")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pages", type=int, default=1, help="open pages, each of the same symbol")
    parser.add_argument("--traced", type=float, nargs="+", default=[], metavar="RATIO", help="with traces, too")
    options = parser.parse_args(arguments)
    brokers = ["embedded", "kafka"] if options.broker == "both" else [options.broker]
    if "kafka" in brokers and (lacking := kafka_install.missing()) is not None:
        print(f"Apache Kafka left out: {lacking}", file=sys.stderr)
        brokers.remove("kafka")
    with receiving() as receiver:
        contenders: dict[str, tuple[Path, dict[str, str]]] = {"this": (ROOT, {})}
        if options.baseline is not None:
            contenders["baseline"] = (options.baseline.resolve(), {})
        for ratio in options.traced:
            variables = {
                "ALPHAPULSE_TRACING__ENDPOINT": receiver.url,
                "ALPHAPULSE_TRACING__SAMPLE_RATIO": f"{ratio:g}",
            }
            contenders[f"traced {ratio:g}"] = (ROOT, variables)
        for broker in brokers:
            for records in options.records:
                found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
                for _ in range(options.rounds):
                    for name, (checkout, variables) in contenders.items():
                        receiver.spans.clear()
                        found[name].append(
                            await figures(checkout, variables, broker, records, options.seconds, options.pages)
                        )
                        if variables:
                            print(f"{name}: {len(receiver.spans):,} spans received", file=sys.stderr)
                show(broker, records, {name: median(rounds) for name, rounds in found.items()})
                if options.rounds > 1:
                    spread(found)


if __name__ == "__main__":
    asyncio.run(main())
