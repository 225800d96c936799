#!/usr/bin/env python3
"""Smoke test of docker-compose.yml on a Docker engine: brings the full stack up, breaks it, and counts its rows.

    scripts/compose_smoke.py [--build] [--keep] [--skip STEP]

Runs the compose file with deploy/standin/docker-compose.yml (no image is pulled) on simulated venues: waits for health,
follows a moving book through the gateway, compares ClickHouse and Parquet with the topics offset by offset, looks at
Prometheus' targets and alerts, holds a collector still until its alert fires, kills every container with SIGKILL,
scales the processors to 2 and back, restarts the broker, and takes everything down. Prints each step with its seconds;
the exit code is 1 if a step fails. Needs root (for SIGKILL from outside) and the packages of requirements.lock.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: E402 the tree is on the path only now

from alphapulse import topics  # noqa: E402
from sinks.clickhouse.tables import TABLE_OF  # noqa: E402

COMPOSE: Final = ("docker", "compose", "-f", "docker-compose.yml", "-f", "deploy/standin/docker-compose.yml")
ENVIRONMENT: Final = {
    # A project and ports of its own: it may run beside a stack that somebody uses, and deletes only its own volumes.
    "COMPOSE_PROJECT_NAME": "alphapulse-smoke",
    "MARKET": "simulated",
    "REGISTRY_URL": "http://registry:8081/apis/ccompat/v7",
    "GATEWAY_PORT": "28000",
    "CLICKHOUSE_PORT": "28123",
    "PROMETHEUS_PORT": "29090",
    "ALERTMANAGER_PORT": "29093",
    "KAFKA_PORT": "29092",
}
GATEWAY: Final = "http://127.0.0.1:28000"
CLICKHOUSE: Final = "http://127.0.0.1:28123"
PROMETHEUS: Final = "http://127.0.0.1:29090"
KAFKA: Final = "127.0.0.1:29092"
COLLECTORS: Final = ("kraken", "coinbase", "binance", "binance-us", "okx")
SERVICES: Final = (
    *(f"collector-{name}" for name in COLLECTORS),
    "processors",
    "sink-clickhouse",
    "sink-parquet",
    "gateway",
)
STORED: Final = (topics.TRADES, topics.L2, topics.CANDLES, topics.STATS, topics.ARBITRAGE, topics.EVENTS)
IN_FILES: Final = (topics.TRADES, topics.L2, topics.CANDLES, topics.ARBITRAGE)


class Failed(Exception):
    """A step found something wrong."""


def compose(*arguments: str, check: bool = True, timeout: float = 300.0) -> str:
    """Run ``docker compose`` and return its standard output."""
    done = subprocess.run(
        [*COMPOSE, *arguments], cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise Failed(f"docker compose {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
    return done.stdout


def containers() -> list[dict[str, Any]]:
    """Return what ``docker compose ps`` tells of each container."""
    return [json.loads(line) for line in compose("ps", "--all", "--format", "json").splitlines()]


def get(url: str, *, user: str = "") -> Any:
    """Return the JSON at ``url``, or text that is none."""
    request = urllib.request.Request(url)  # noqa: S310 loopback
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    with urllib.request.urlopen(request, timeout=15) as response:  # noqa: S310
        body = response.read().decode()
    try:
        return json.loads(body)
    except ValueError:
        return body


def sql(query: str) -> list[list[str]]:
    """Return the rows of ``query``."""
    url = f"{CLICKHOUSE}/?{urllib.parse.urlencode({'database': 'alphapulse', 'query': query + ' FORMAT TSV'})}"
    return [line.split("\t") for line in str(get(url, user="alphapulse:alphapulse")).splitlines()]


def wait(what: str, holds: Callable[[], object], seconds: float, pause: float = 0.5) -> Any:
    """Return what ``holds`` returns as soon as it is true; errors of connections count as not yet."""
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
        except (OSError, urllib.error.URLError, ValueError, KeyError, Failed) as error:
            last = f" ({error})"
        time.sleep(pause)
    raise Failed(f"{what}: not within {seconds:g} s{last}")


def healthy(services: tuple[str, ...] = SERVICES) -> bool:
    """Whether all containers of ``services`` run and are healthy."""
    state = [one for one in containers() if one["Service"] in services]
    found = {one["Service"] for one in state}
    return found == set(services) and all(one["Health"] == "healthy" for one in state)


def book_moves(venue: str = "kraken", symbol: str = "BTC-USDT") -> None:
    """Wait until a valid book is served and changes."""

    def valid() -> Any:
        book = get(f"{GATEWAY}/api/v1/books/{venue}/{symbol}")
        return book if book["valid"] and book["bids"] and book["asks"] else None

    first = wait(f"a valid book of {venue} {symbol}", valid, 60)
    wait(f"a change of {venue} {symbol}", lambda: (now := valid()) and now["bids"] != first["bids"], 60)


async def _ends(names: tuple[str, ...]) -> dict[str, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=KAFKA, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(name, number) for name in names for number in range(topics.PARTITIONS)]
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        if gone := [partition for partition in partitions if begins[partition]]:
            raise Failed(f"the broker has dropped records of {gone[0]}")
        return {name: sum(end for partition, end in ends.items() if partition.topic == name) for name in names}
    finally:
        await consumer.stop()


def rows_are_the_records() -> str:
    """Stop what publishes, and compare tables and files with the topics: each offset once, none missing."""
    compose("stop", *(f"collector-{name}" for name in COLLECTORS), "simulator")
    ends: dict[str, int] = {}

    def still() -> bool:
        """Processors publish the last candles some seconds after their inputs have ended."""
        nonlocal ends
        before, ends = ends, asyncio.run(_ends(tuple(dict.fromkeys(STORED + IN_FILES))))
        return before == ends

    compose("stop", "processors")
    wait("the topics to stand still", still, 60, pause=2.0)

    def stored() -> bool:
        return all(counted(name) == (ends[name], ends[name]) for name in STORED)

    def counted(name: str) -> tuple[int, int]:
        ((rows, distinct),) = sql(f"SELECT count(), uniqExact(_partition, _offset) FROM {TABLE_OF[name].name}")  # noqa: S608
        return int(rows), int(distinct)

    try:
        wait("all rows in ClickHouse", stored, 60, pause=1.0)
    except Failed:
        wrong = {name: (ends[name], *counted(name)) for name in STORED if counted(name) != (ends[name], ends[name])}
        raise Failed(f"records, rows, distinct rows: {wrong}") from None
    compose("stop", "sink-parquet")  # it writes what it holds
    script = (
        "import json, pathlib, pyarrow.parquet as p\n"
        "found = {}\n"
        "for file in pathlib.Path('/parquet').rglob('*.parquet'):\n"
        "    meta = p.read_metadata(file)\n"
        "    name = meta.metadata[b'alphapulse.topic'].decode()\n"
        "    found[name] = found.get(name, 0) + meta.num_rows\n"
        "print(json.dumps(found))"
    )
    told = compose("run", "--rm", "--no-deps", "--entrypoint", "python", "sink-parquet", "-c", script)
    files = json.loads(told.splitlines()[-1])
    if wrong := {name: (ends[name], files.get(name, 0)) for name in IN_FILES if files.get(name, 0) != ends[name]}:
        raise Failed(f"records, rows in files: {wrong}")
    compose("start", "simulator", "processors", "sink-parquet", *(f"collector-{name}" for name in COLLECTORS))
    wait("all healthy again", healthy, 120)
    return f"{sum(ends.values()):,} records of {len(ends)} topics, each once in its table, and in files"


def targets_are_up() -> str:
    """Wait until Prometheus scrapes every service."""

    def up() -> dict[str, str] | None:
        found = {
            str(target["labels"].get("service")): target["health"]
            for target in get(f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"]
            if target["labels"]["job"] == "alphapulse"
        }
        return found if set(SERVICES) <= found.keys() and set(found.values()) == {"up"} else None

    return f"{len(wait('all targets up', up, 90))} targets"


def firing() -> set[str]:
    """Return the names of the alerts that fire."""
    alerts = get(f"{PROMETHEUS}/api/v1/alerts")["data"]["alerts"]
    ours = [alert for alert in alerts if alert["labels"].get("job") != "redpanda"]  # the stand-in has no such port
    return {alert["labels"]["alertname"] for alert in ours if alert["state"] == "firing"}


def a_stalled_collector_is_told() -> str:
    """Hold a collector still: an alert fires; let it go on: the alert resolves."""
    before = firing()
    compose("pause", "collector-okx")
    try:
        fired = wait("an alert", lambda: firing() - before, 180, pause=2.0)
    finally:
        compose("unpause", "collector-okx")
    wait("the alert to resolve", lambda: not firing() & fired, 240, pause=2.0)
    return f"{', '.join(sorted(fired))} fired and resolved"


def everything_survives_sigkill() -> str:
    """Kill the first process of every container; Docker starts it again, and the book moves on."""
    killed = 0
    for service in (*SERVICES, "clickhouse", "registry", "redpanda"):
        for container in compose("ps", "--quiet", service).split():
            pid = subprocess.run(
                ["docker", "inspect", "--format", "{{.State.Pid}}", container],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            os.kill(int(pid), signal.SIGKILL)
            killed += 1
        wait(f"{service} healthy again", lambda service=service: healthy((service,)), 150)  # type: ignore[misc]
    wait("all healthy again", healthy, 150)
    book_moves()
    return f"{killed} containers killed one by one"


def processors_scale() -> str:
    """Run two workers, then one again."""
    compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "processors=2")
    wait("two workers", lambda: sum(one["Service"] == "processors" for one in containers()) == 2 and healthy(), 120)
    book_moves()
    compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "processors=1")
    wait("one worker", lambda: sum(one["Service"] == "processors" for one in containers()) == 1 and healthy(), 120)
    book_moves()
    return "to 2 and back"


def the_broker_restarts() -> str:
    """Restart the broker."""
    compose("restart", "redpanda")
    wait("all healthy again", lambda: healthy((*SERVICES, "redpanda")), 150)
    book_moves()
    return ""


def comes_up() -> str:
    """Start everything and wait for the line with the addresses."""
    compose("up", "--detach", "--no-build", timeout=600)
    wait("all healthy", healthy, 180)
    told = wait("the addresses", lambda: compose("logs", "--no-log-prefix", "addresses").strip(), 60)
    return str(told).splitlines()[-1]


def main() -> int:
    """Run the steps; return the exit code."""
    parser = argparse.ArgumentParser(description="Smoke test of docker-compose.yml with stand-ins.")
    parser.add_argument("--build", action="store_true", help="build the images first (deploy/standin/build)")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    parser.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave a step out, by its name")
    options = parser.parse_args()
    steps: list[tuple[str, Callable[[], str | None]]] = [
        ("up", comes_up),
        ("a book moves", book_moves),
        ("targets", targets_are_up),
        ("no alert", lambda: None if not firing() else _fail(f"firing: {', '.join(sorted(firing()))}")),
        ("rows", rows_are_the_records),
        ("stalled collector", a_stalled_collector_is_told),
        ("SIGKILL", everything_survives_sigkill),
        ("rows after SIGKILL", rows_are_the_records),
        ("scale", processors_scale),
        ("broker restart", the_broker_restarts),
        ("rows at the end", rows_are_the_records),
    ]
    if options.build:
        steps.insert(0, ("build", lambda: subprocess.run([ROOT / "deploy/standin/build"], check=True) and None))
    if containers():
        sys.exit(
            "the project alphapulse-smoke has containers already: docker compose -p alphapulse-smoke down --volumes"
        )
    failed = False
    for name, step in ((name, step) for name, step in steps if name not in options.skip):
        began = time.monotonic()
        try:
            told = step() or ""
        except Exception as error:  # noqa: BLE001 whatever it was: it is told, and the stack is taken down
            failed, told = True, f"FAILED: {error!r}"
        print(f"{time.monotonic() - began:7.1f} s  {name:<20} {told}", flush=True)
        if failed:
            break
    if failed:
        print(compose("ps", "--all", check=False), compose("logs", "--tail", "5", check=False), sep="\n")
    if not options.keep:
        began = time.monotonic()
        compose("down", "--volumes", "--timeout", "60", check=False)
        print(f"{time.monotonic() - began:7.1f} s  down")
    return 1 if failed else 0


def _fail(told: str) -> str:
    raise Failed(told)


if __name__ == "__main__":
    sys.exit(main())
