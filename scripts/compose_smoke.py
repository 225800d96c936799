#!/usr/bin/env python3
"""Smoke test of docker-compose.yml on a Docker engine: brings the full stack up, breaks it, and counts its rows.

    scripts/compose_smoke.py [--images] [--build] [--keep] [--skip STEP]

Runs the compose file with deploy/standin/docker-compose.yml (no image is pulled) on simulated venues: waits for
health, looks at the containers' rights, follows a moving book through the gateway, runs the query of
docs/quickstart.md, compares ClickHouse and Parquet with the topics offset by offset, looks at Prometheus' targets and
alerts, stalls a venue and then a collector until an alert fires, makes a service hang, kills every container with
SIGKILL, scales the processors to 2 and back, restarts the broker, and takes everything down. Prints each step with its
seconds; the exit code is 1 if a step fails. Needs root (for signals from outside) and the packages of
requirements.lock. ``--images``: the same without the stand-ins, on the images that the compose file names.
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
from steps import Failed, run  # noqa: E402

from alphapulse import topics  # noqa: E402
from sinks.clickhouse.tables import TABLE_OF  # noqa: E402
from tests.documents.blocks import blocks  # noqa: E402

FILES: Final = ["docker-compose.yml", "deploy/standin/docker-compose.yml"]
STANDIN_REGISTRY: Final = "http://registry:8081/apis/ccompat/v7"
ENVIRONMENT: Final[dict[str, str]] = {
    # A project and ports of its own: it may run beside a stack that somebody uses, and deletes only its own volumes.
    "COMPOSE_PROJECT_NAME": "alphapulse-smoke",
    "MARKET": "simulated",
    "GATEWAY_PORT": "28000",
    "CLICKHOUSE_PORT": "28123",
    "PROMETHEUS_PORT": "29090",
    "ALERTMANAGER_PORT": "29093",
    "KAFKA_PORT": "29092",
    "REGISTRY_PORT": "28081",
}
GATEWAY: Final = "http://127.0.0.1:28000"
CLICKHOUSE: Final = "http://127.0.0.1:28123"
PROMETHEUS: Final = "http://127.0.0.1:29090"
KAFKA: Final = "127.0.0.1:29092"
OKX_PORT: Final = 9005  # as deploy/config-simulated has it
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


def compose(*arguments: str, check: bool = True, timeout: float = 300.0) -> str:
    """Run ``docker compose`` and return its standard output."""
    done = subprocess.run(
        ["docker", "compose", *(word for name in FILES for word in ("-f", name)), *arguments],
        cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise Failed(f"docker compose {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
    return done.stdout


def containers() -> list[dict[str, Any]]:
    """Return what ``docker compose ps`` tells of each container."""
    return [json.loads(line) for line in compose("ps", "--all", "--format", "json").splitlines()]


def docker(*arguments: str, check: bool = True) -> str:
    """Run ``docker`` and return its standard output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode:
        raise Failed(f"docker {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


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

    try:
        first = wait(f"a valid book of {venue} {symbol}", valid, 60)
        wait(f"a change of {venue} {symbol}", lambda: (now := valid()) and now["bids"] != first["bids"], 60)
    except Failed as error:
        book, venues = get(f"{GATEWAY}/api/v1/books/{venue}/{symbol}?depth=1"), get(f"{GATEWAY}/api/v1/exchanges")
        service = f"http://collector-{venue.replace('_', '-')}:9100/status"
        script = f"import urllib.request as r; print(r.urlopen('{service}', timeout=10).read().decode()[:2000])"
        collector = compose("exec", "-T", "gateway", "python3", "-c", script, check=False)
        raise Failed(f"{error}; book {book}; venues {venues}; collector {collector}") from None


def the_quickstarts_query_answers() -> str:
    """Run the query of docs/quickstart.md as it stands there, but for the port."""
    (block,) = (
        block
        for block in blocks(ROOT / "docs" / "quickstart.md")
        if block.marker is not None and "scripts/compose_smoke.py" in block.marker.tests
    )
    command = block.text.replace("http://127.0.0.1:8123", CLICKHOUSE)

    def told() -> str | None:
        done = subprocess.run(["sh", "-e", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode or done.stderr:
            raise Failed(done.stderr.strip()[-800:] or f"exit code {done.returncode}")
        return done.stdout if "kraken" in done.stdout else None

    lines = str(wait("trades of kraken", told, 60)).splitlines()
    return f"{len(lines)} lines"


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


def firing() -> set[tuple[str, str]]:
    """Return the alerts that fire: the name, and the venue or service that it is about."""
    alerts = get(f"{PROMETHEUS}/api/v1/alerts")["data"]["alerts"]
    labels = [alert["labels"] for alert in alerts if alert["state"] == "firing"]
    return {
        (one["alertname"], one.get("venue") or one.get("service", ""))
        for one in labels
        if one.get("job") != "redpanda" or len(FILES) == 1  # the stand-in has no such port
    }


def no_alert_fires() -> str:
    """Look for a minute, since an alert fires only after it has held for a while."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := firing():
            raise Failed(f"firing: {found}")
        time.sleep(5)
    return "for a minute"


def told_by_webhook(status: str, name: str) -> bool:
    """Whether Alertmanager's example receiver has told of the alert ``name``."""
    return any(f" {status} " in line and f" {name}: " in line for line in compose("logs", "alerts").splitlines())


def drop_packets(port: int, *, drop: bool) -> None:
    """Begin or end to drop what comes to ``port`` of the simulated venues."""
    pid = docker("inspect", "--format", "{{.State.Pid}}", *compose("ps", "--quiet", "simulator").split())
    rule = ["INPUT", "--protocol", "tcp", "--dport", str(port), "--jump", "DROP"]
    subprocess.run(
        ["nsenter", "--target", pid, "--net", "iptables", "--wait", "--append" if drop else "--delete", *rule],
        check=True,
    )


def a_stalled_venue_is_told() -> str:
    """Let one venue fall silent: its alert fires, and no other venue's; it goes on: the alert resolves."""
    alert = ("VenueSilent", "okx")
    began = time.monotonic()
    drop_packets(OKX_PORT, drop=True)
    try:
        wait("VenueSilent of okx", lambda: alert in firing(), 240, pause=2.0)
        fired = time.monotonic() - began
        if others := {one for one in firing() if one[0] == "VenueSilent"} - {alert}:
            raise Failed(f"firing too: {others}")
        book_moves("kraken")
        wait("the webhook", lambda: told_by_webhook("firing", "VenueSilent"), 120, pause=2.0)
    finally:
        drop_packets(OKX_PORT, drop=False)
    began = time.monotonic()
    wait("the alert to resolve", lambda: alert not in firing(), 300, pause=2.0)
    resolved = time.monotonic() - began
    wait("the webhook", lambda: told_by_webhook("resolved", "VenueSilent"), 120, pause=2.0)
    wait("all healthy again", healthy, 120)
    book_moves("okx")
    return (
        f"VenueSilent of okx fired after {fired:.0f} s, resolved {resolved:.0f} s after the end; the webhook told both"
    )


def a_stalled_collector_is_told() -> str:
    """Hold a collector still: an alert fires; let it go on: the alert resolves."""
    before = firing()
    compose("pause", "collector-okx")
    try:
        fired = wait("an alert", lambda: firing() - before, 180, pause=2.0)
    finally:
        compose("unpause", "collector-okx")
    wait("the alert to resolve", lambda: not firing() & fired, 240, pause=2.0)
    wait("all healthy again", healthy, 120)
    return f"{', '.join(sorted(' of '.join(one) for one in fired))} fired and resolved"


def a_hung_service_is_started_again() -> str:
    """Stop the gateway's process from within: its own health check ends it, and Docker starts it again."""
    (container,) = compose("ps", "--quiet", "gateway").split()
    began = time.monotonic()
    script = "import json, os, signal; os.kill(json.load(open('/data/run/gateway.json'))['pid'], signal.SIGSTOP)"
    docker("exec", container, "python3", "-c", script)
    restarts = ["inspect", "--format", "{{.RestartCount}}", container]
    wait("Docker to start it again", lambda: int(docker(*restarts)) > 0, 180, pause=1.0)
    ended = time.monotonic() - began
    wait("healthy again", lambda: healthy(("gateway",)), 90)
    book_moves()
    return f"ended after {ended:.0f} s"


def rights_are_few() -> str:
    """Look from within each of our containers: no root, no capabilities, none to be had, read-only."""
    script = (
        "import json, os\n"
        "status = dict(line.rstrip().split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)\n"
        "try:\n"
        "    open('/opt/alphapulse/written', 'w'); written = True\n"
        "except OSError as error:\n"
        "    written = error.strerror\n"
        "capabilities = [int(status[name], 16) for name in ('CapEff', 'CapBnd')]\n"
        "print(json.dumps([os.getuid(), *capabilities, status['NoNewPrivs'], written]))"
    )
    looked = 0
    for container in compose("ps", "--quiet", *SERVICES, "simulator").split():
        found = json.loads(docker("exec", container, "python3", "-c", script))
        if found != [10001, 0, 0, "1", "Read-only file system"]:
            raise Failed(f"{container}: uid, capabilities, bounding set, no new privileges, a write: {found}")
        looked += 1
    return f"{looked} containers: uid 10001, no capabilities, read-only"


def everything_survives_sigkill() -> str:
    """Kill the first process of every container; Docker starts it again, and the book moves on."""
    killed = 0
    for service in (*SERVICES, "clickhouse", *(["registry"] if len(FILES) > 1 else []), "redpanda"):
        for container in compose("ps", "--quiet", service).split():
            os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGKILL)
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
    """Start everything as a script would, and wait for the line with the addresses."""
    compose("up", "--detach", "--wait", "--wait-timeout", "300", "--no-build", timeout=600)
    if not healthy():
        raise Failed("up --wait returned before all were healthy")
    told = wait("the addresses", lambda: compose("logs", "--no-log-prefix", "addresses").strip(), 60)
    return str(told).splitlines()[0]


def builds() -> str:
    """Build AlphaPulse's image, and the stand-ins where they are used."""
    if len(FILES) > 1:
        subprocess.run([ROOT / "deploy/standin/build"], check=True)
    else:
        compose("build", "init", timeout=1200)
        compose("pull", "--quiet", "--ignore-buildable", "--ignore-pull-failures", timeout=1200)
    return docker("image", "ls", "--format", "{{.Tag}} {{.Size}}", "alphapulse").replace("\n", ", ")


def goes_down() -> str:
    """Take everything down, and look for what is left."""
    compose("down", "--volumes", "--timeout", "60")
    label = f"label=com.docker.compose.project={ENVIRONMENT['COMPOSE_PROJECT_NAME']}"
    lists = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    if left := [found for one in lists if (found := docker(*one, "--quiet", "--filter", label))]:
        raise Failed(f"left: {left}")
    return "nothing is left"


def main() -> int:
    """Run the steps; return the exit code."""
    parser = argparse.ArgumentParser(description="Smoke test of docker-compose.yml.")
    parser.add_argument("--images", action="store_true", help="on the images that it names, not on stand-ins")
    parser.add_argument("--build", action="store_true", help="build first: our image, or all stand-ins")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    parser.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave a step out, by its name")
    options = parser.parse_args()
    steps: list[tuple[str, Callable[[], str | None]]] = [
        ("up", comes_up),
        ("rights", rights_are_few),
        ("a book moves", book_moves),
        ("the quickstart", the_quickstarts_query_answers),
        ("targets", targets_are_up),
        ("no alert", no_alert_fires),
        ("rows", rows_are_the_records),
        ("stalled venue", a_stalled_venue_is_told),
        ("stalled collector", a_stalled_collector_is_told),
        ("hung service", a_hung_service_is_started_again),
        ("SIGKILL", everything_survives_sigkill),
        ("rows after SIGKILL", rows_are_the_records),
        ("scale", processors_scale),
        ("broker restart", the_broker_restarts),
        ("rows at the end", rows_are_the_records),
    ]
    if options.images:
        del FILES[1:]
    else:
        ENVIRONMENT["REGISTRY_URL"] = STANDIN_REGISTRY
    if options.build:
        steps.insert(0, ("build", builds))
    if containers():
        sys.exit(
            "the project alphapulse-smoke has containers already: docker compose -p alphapulse-smoke down --volumes"
        )
    began = time.monotonic()
    failed = not all(run(name, step) for name, step in steps if name not in options.skip)
    if failed:
        print(compose("ps", "--all", check=False), compose("logs", "--tail", "5", check=False), sep="\n")
    if not options.keep:
        failed = not run("down", goes_down) or failed
    print(f"{time.monotonic() - began:7.1f} s  in all")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
