"""Health of the whole system: readiness of services, lag of consumers, age of books.

Services announce their ops port in ``data_dir/run/<service>.json`` while they run; one that dies leaves its file and so
is seen to be down. Where services do not share a folder (a cluster), only this gateway is seen; use the cluster's
own probes for the others.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiokafka import TopicPartition

from alphapulse import logs, metrics, topics
from alphapulse.config import Settings
from alphapulse.errors import BrokerError, BrokerUnavailable
from alphapulse.kafka import LagReader
from gateway.fanout import Hub
from gateway.health.answers import (
    Health,
    HopLatency,
    Lag,
    LastHourAnswer,
    ServiceHealth,
    ServiceStatus,
    SystemStatus,
    VenueStatus,
)
from gateway.health.hops import HOPS, Hops
from gateway.health.incidents import HOUR, Incidents
from gateway.health.lag_history import LagHistory
from gateway.state import MarketState, VenueStanding

FRESH_SECONDS: Final = 2.0
"""Minimum interval of requests to services and broker: a hundred open pages cost no more than one."""
UNASKED_SECONDS: Final = 10.0
"""Interval of lag readings without requests; the lag in seconds needs a history."""
TIMEOUT_SECONDS: Final = 1.0
"""Timeout for a service; and for the broker, after which the last lag is returned."""
FIRST_LAG_SECONDS: Final = 3.0
"""The same before the first lag reading, which opens two connections."""
LAG_TIMEOUT_SECONDS: Final = 10.0
"""A lag reading that takes longer is retried over new connections."""
COLLECTOR: Final = "collector-"
"""Begins the names of the collectors' services."""
_ANY_ADDRESS: Final = ("0.0.0.0", "::", "")
_RECORD_TOPICS: Final = (topics.L2, topics.TRADES, topics.DEPTH, topics.CANDLES, topics.STATS, topics.ARBITRAGE)

_Announcement = tuple[Path, Mapping[str, Any] | str]


@dataclass(frozen=True, slots=True)
class ReadingProgress:
    """Read progress of this gateway: next offset and end of each partition."""

    positions: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class _GroupLag:
    records: int
    seconds: float


class LagWatch:
    """Lag of the consumer groups, as last read.

    Attributes:
        groups: group → lag; groups that never committed are left out.
        nothing_to_read: groups that never committed, because their topics have never had a record.
        read_at: time of the last reading (monotonic seconds); None: never.
        failure: why the last reading failed; empty: it did not.
        down: whether it failed because no broker can be reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader: LagReader | None = None
        self._reading: asyncio.Task[None] | None = None
        self._history = LagHistory()
        self._log = logs.get("health")
        self.groups: dict[str, _GroupLag] = {}
        self.nothing_to_read: frozenset[str] = frozenset()
        self.read_at: float | None = None
        self.failure = ""
        self.down = False

    async def refresh(self, max_age: float, patience: float) -> None:
        """Read the lag if the last reading is older than ``max_age``; wait at most ``patience`` (seconds)."""
        if self._reading is None:
            if self.read_at is not None and time.monotonic() - self.read_at < max_age:
                return
            self._reading = asyncio.create_task(self._read())
        # A reading that takes longer continues; the next caller finds its result.
        done, _ = await asyncio.wait({self._reading}, timeout=patience)
        for reading in done:
            reading.result()  # raises unexpected errors

    async def first(self, patience: float) -> None:
        """Wait for the first reading, if it is under way, at most ``patience`` seconds."""
        if self._reading is not None and self.read_at is None and not self.failure:
            await asyncio.wait({self._reading}, timeout=patience)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(LAG_TIMEOUT_SECONDS):
                await self._ask()
            self.failure, self.down = "", False
        except TimeoutError:
            await self._failed(f"did not answer within {LAG_TIMEOUT_SECONDS:g} s", down=False)
        except BrokerError as error:
            # A slow answer may mean a slow broker; new connections show whether it is reachable.
            await self._failed(str(error), down=isinstance(error, BrokerUnavailable))
        finally:
            self._reading = None

    async def _failed(self, reason: str, *, down: bool) -> None:
        if reason != self.failure:
            self._log.warning("lag not read", reason=reason)
        self.failure, self.down = reason, down
        _forget_lag()
        await self._drop()

    async def _ask(self) -> None:
        if self._reader is None:
            groups = (
                self._settings.processors.group,
                self._settings.clickhouse.group,
                self._settings.parquet.group,
            )
            reader = LagReader(self._settings.kafka, dict.fromkeys(groups, _RECORD_TOPICS))
            self._reader = await reader.__aenter__()
        found = await self._reader.read()
        now = time.monotonic()
        for lag in found.values():
            self._history.note({partition: each.end for partition, each in lag.partitions.items()}, now)
        self.groups = {}
        _forget_lag()
        for group, lag in found.items():
            # A partition without a commit is not read by the group (yet): no lag.
            read = {p: each for p, each in lag.partitions.items() if each.committed is not None}
            if read:
                seconds = {
                    p: self._history.seconds(p, max(each.committed or 0, each.start), now) for p, each in read.items()
                }
                self.groups[group] = _GroupLag(sum(each.lag for each in read.values()), max(seconds.values()))
                for topic in {p.topic for p in read}:
                    of_topic = [p for p in read if p.topic == topic]
                    metrics.GROUP_LAG.labels(group, topic).set(sum(read[p].lag for p in of_topic))
                    metrics.GROUP_LAG_SECONDS.labels(group, topic).set(max(seconds[p] for p in of_topic))
        self.nothing_to_read = frozenset(
            group
            for group, lag in found.items()
            if group not in self.groups and all(each.end == 0 for each in lag.partitions.values())
        )
        self.read_at = now

    async def close(self) -> None:
        """Close the connections to the broker."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._drop()

    async def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()


def _forget_lag() -> None:
    """Let the metrics tell no lag rather than an old one."""
    metrics.GROUP_LAG.clear()
    metrics.GROUP_LAG_SECONDS.clear()


class HealthMonitor:
    """Polls services and broker at most every ``FRESH_SECONDS`` and judges the results.

    Args:
        name: this service; not polled, ``hub`` and ``progress`` are used instead.
        progress: read progress of this gateway.

    Attributes:
        hops: latencies; its reader notes them.
        incidents: of the venues; its reader notes them.
    """

    def __init__(
        self, settings: Settings, name: str, state: MarketState, hub: Hub, progress: Callable[[], ReadingProgress]
    ) -> None:
        self._settings = settings
        self._name = name
        self._state = state
        self._hub = hub
        self._progress = progress
        self._started = time.monotonic()
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._lag = LagWatch(settings)
        self._own_history = LagHistory()
        self._services: dict[str, ServiceHealth] = {}
        self._last_frames: dict[str, int] = {}
        self._counted_since = hub.clock()
        self.hops = Hops()
        self.incidents = Incidents()
        self._asked_at: float | None = None
        self._log = logs.get("health")

    async def read(self) -> Health:
        """Return the system's health; services' responses are at most ``FRESH_SECONDS`` old."""
        async with self._lock:
            if self._asked_at is None or time.monotonic() - self._asked_at >= FRESH_SECONDS:
                patience = TIMEOUT_SECONDS if self._lag.read_at is not None else FIRST_LAG_SECONDS
                if not self._hub.live:
                    patience = 0  # what it waits for would hide that the gateway is catching up
                self._services, _ = await asyncio.gather(
                    self._ask_services(), self._lag.refresh(FRESH_SECONDS, patience)
                )
                self._asked_at = time.monotonic()
        return self._judge()

    async def status(self) -> SystemStatus:
        """Return what :meth:`read` judges, in figures, and the latencies of the last minute."""
        health = await self.read()
        now = self._hub.clock()
        return SystemStatus(
            time=now // 1000,
            status=health.status,
            venues={venue: self._venue_status(venue, now) for venue in sorted(self._state.venues)},
            services={
                name: _service_status(each, health.lag.get(self._group_of(name)))
                for name, each in health.services.items()
            },
            hops={
                hop: HopLatency(
                    between=HOPS[hop],
                    count=found.count if found else 0,
                    p50=found.p50 if found else None,
                    p90=found.p90 if found else None,
                    p99=found.p99 if found else None,
                    max=found.max if found else None,
                )
                for hop, found in self.hops.percentiles(now).items()
            },
        )

    def _venue_status(self, venue: str, now: int) -> VenueStatus:
        standing = self._state.standing(venue, now)
        told = self._last_frames.get(f"{COLLECTOR}{venue}")
        last = told or self._state.venues[venue].last_received
        counts = self.incidents.last_hour(venue, now)
        return VenueStatus(
            status=standing.status,
            last_frame_age_ms=(now - last) // 1_000_000 if last else None,
            last_frame_source="collector" if told else "records",
            valid_books=standing.good,
            stale_books=standing.stale,
            invalid_books=standing.invalid,
            last_hour=LastHourAnswer(
                gaps=counts.gaps,
                resyncs=counts.resyncs,
                epochs=counts.epochs,
                since=max(self._counted_since, now - HOUR) // 1000,
            ),
        )

    def _group_of(self, service: str) -> str:
        """Return the name under which the lag of ``service`` is known."""
        settings = self._settings
        groups = {
            "processors": settings.processors.group,
            "sink-clickhouse": settings.clickhouse.group,
            "sink-parquet": settings.parquet.group,
        }
        return next((group for name, group in groups.items() if service.startswith(name)), service)

    def stored_lag_seconds(self) -> float | None:
        """Return by how much the ClickHouse sink is behind at most, seconds; None: not known.

        It is not known before the first reading, nor of a sink that has never committed though there are records. While
        the readings fail it grows: the sink may have written nothing since the last one.
        """
        group, read_at = self._settings.clickhouse.group, self._lag.read_at
        if read_at is None or (group not in self._lag.groups and group not in self._lag.nothing_to_read):
            return None
        lag = self._lag.groups.get(group)
        seconds = 0.0 if lag is None else lag.seconds
        return seconds + max(time.monotonic() - read_at - UNASKED_SECONDS, 0.0)

    async def first_lag(self) -> None:
        """Wait a few seconds for the first reading of the lag, if it is under way."""
        await self._lag.first(FIRST_LAG_SECONDS)

    async def watch(self) -> None:
        """Record the topics' ends regularly, until cancelled, even without requests."""
        while True:
            self._note_own()
            await self._lag.refresh(UNASKED_SECONDS, LAG_TIMEOUT_SECONDS)
            await asyncio.sleep(UNASKED_SECONDS)

    async def close(self) -> None:
        """Close the connections to services and broker."""
        async with self._lock:
            if self._session is not None:
                await self._session.close()
                self._session = None
            await self._lag.close()

    # --- judging ----------------------------------------------------------------------------------------------

    def _judge(self) -> Health:
        services = self._services | {self._name: self._own_health(), "kafka": self._broker_health()}
        lag = {self._name: self._own_lag()} | self._lag_of_groups()
        reasons = [
            f"{name}: {each.message or each.status}" for name, each in sorted(services.items()) if each.status != "ok"
        ]
        reasons += self._behind(lag)
        if self._hub.live:  # before, the books are not current
            self._hub.expire()
            now = self._hub.clock()
            for venue in sorted(self._state.venues):
                reasons += venue_reasons(venue, self._state.standing(venue, now), self._state.max_book_age)
        return Health(
            status="degraded" if reasons else "ok",
            reasons=reasons,
            services=dict(sorted(services.items())),
            lag=lag,
            uptime_seconds=round(time.monotonic() - self._started, 3),
        )

    def _own_health(self) -> ServiceHealth:
        if self._hub.live:
            return ServiceHealth(status="ok")
        return ServiceHealth(status="degraded", message=f"catching up: {self._own_lag().records:,} records to read")

    def _broker_health(self) -> ServiceHealth:
        lag = self._lag
        if lag.down:
            return ServiceHealth(status="down", message=lag.failure)
        age = None if lag.read_at is None else time.monotonic() - lag.read_at
        if age is None:
            return ServiceHealth(
                status="degraded", message=f"the broker {lag.failure or 'has not returned the lag yet'}"
            )
        if lag.failure or age > UNASKED_SECONDS + LAG_TIMEOUT_SECONDS:
            why = lag.failure or "has not answered since"
            return ServiceHealth(status="degraded", message=f"lag is {age:.0f} s old: the broker {why}")
        return ServiceHealth(status="ok")

    def _note_own(self) -> ReadingProgress:
        progress = self._progress()
        self._own_history.note(progress.ends, time.monotonic())
        return progress

    def _own_lag(self) -> Lag:
        now = time.monotonic()
        progress = self._note_own()
        behind = {p: end - progress.positions[p] for p, end in progress.ends.items() if end > progress.positions[p]}
        seconds = (self._own_history.seconds(p, progress.positions[p], now) for p in behind)
        return Lag(records=sum(behind.values()), seconds=round(max(seconds, default=0.0), 1), age_seconds=0.0)

    def _lag_of_groups(self) -> dict[str, Lag]:
        if self._lag.read_at is None:
            return {}
        age = round(time.monotonic() - self._lag.read_at, 1)
        return {
            group: Lag(records=each.records, seconds=round(each.seconds, 1), age_seconds=age)
            for group, each in self._lag.groups.items()
        }

    def _behind(self, lag: Mapping[str, Lag]) -> Iterator[str]:
        """Return messages on groups that are further behind than ``[freshness] max_lag_s`` and their batch interval.

        A sink commits after it has written, so it is up to a batch behind in normal operation.
        """
        waits = {
            self._settings.clickhouse.group: self._settings.clickhouse.longest_batch_seconds,
            self._settings.parquet.group: self._settings.parquet.batch_seconds,
        }
        for name, each in lag.items():
            allowed = self._settings.freshness.max_lag_s + waits.get(name, 0.0)
            if each.seconds > allowed:
                yield f"{name} is {each.records:,} records, {each.seconds:.1f} s behind (maximum {allowed:g} s)"

    # --- asking -----------------------------------------------------------------------------------------------

    async def _ask_services(self) -> dict[str, ServiceHealth]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        paths = await asyncio.to_thread(_announcements, self._settings.data_dir / "run")
        named = [(path, announced) for path, announced in paths if path.stem != self._name]
        await self._ask_collectors(self._session, dict(named))
        answers = await asyncio.gather(*(self._service(self._session, path, announced) for path, announced in named))
        return {path.stem: answer for (path, _), answer in zip(named, answers, strict=True)}

    async def _ask_collectors(
        self, session: aiohttp.ClientSession, announced: Mapping[Path, Mapping[str, Any] | str]
    ) -> None:
        """Note when each collector has had its last frame; one that does not tell is left out."""

        async def ask(path: Path, fields: Mapping[str, Any]) -> tuple[str, int]:
            try:
                async with session.get(self._ops_url(fields, "status")) as response:
                    told = await response.json()
                    return path.stem, int(told["last_frame_time"])
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:
                self._log.debug("collector does not tell its last frame", service=path.stem, error=repr(error))
                return path.stem, 0

        of_collectors = [
            ask(path, fields)
            for path, fields in announced.items()
            if path.stem.startswith(COLLECTOR) and not isinstance(fields, str)
        ]
        self._last_frames = dict(await asyncio.gather(*of_collectors))

    def _ops_url(self, announced: Mapping[str, Any], path: str) -> str:
        host = self._settings.ops.host
        return f"http://{'127.0.0.1' if host in _ANY_ADDRESS else host}:{announced.get('ops_port')}/{path}"

    async def _service(
        self, session: aiohttp.ClientSession, path: Path, announced: Mapping[str, Any] | str
    ) -> ServiceHealth:
        if isinstance(announced, str):
            return ServiceHealth(status="down", message=announced)
        url = self._ops_url(announced, "ready")
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return ServiceHealth(status="ok")
                return ServiceHealth(status="degraded", message=_reason(url, response.status, await response.text()))
        except TimeoutError:
            return ServiceHealth(status="down", message=f"{url} does not answer within {TIMEOUT_SECONDS:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._log.debug("service does not answer", service=path.stem, error=str(error))
            return ServiceHealth(status="down", message=f"{url} does not answer: {str(error) or type(error).__name__}")


def _service_status(health: ServiceHealth, lag: Lag | None) -> ServiceStatus:
    return ServiceStatus(
        status=health.status,
        ready=health.status == "ok",
        message=health.message,
        lag_records=None if lag is None else lag.records,
        lag_seconds=None if lag is None else lag.seconds,
    )


def venue_reasons(venue: str, standing: VenueStanding, max_book_age: int) -> list[str]:
    """Return the problems of a venue: not connected, late, or books invalid or stale for too long.

    Args:
        max_book_age: ns; a book may be invalid this long (it is being repaired).
    """
    books = standing.good + standing.stale + standing.invalid
    oldest = (standing.oldest_fault or 0) / 1e9
    if standing.status == "disconnected":
        return [f"{venue} is disconnected"]
    if standing.status == "late":
        return [f"{venue} is late: its collector cannot read the frames in time and has invalidated its books"]
    if standing.stale:
        return [f"{venue}: {standing.stale} of {books} books are stale, the oldest not confirmed for {oldest:.1f} s"]
    if standing.invalid and (standing.oldest_fault or 0) > max_book_age:
        return [f"{venue}: {standing.invalid} of {books} books are invalid, the oldest for {oldest:.1f} s"]
    return []


def _reason(url: str, status: int, body: str) -> str:
    """Return why a service is not ready: the reason it gives, if any."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(waiting := told.get("waiting"), str) and waiting:
        return f"waits: {waiting}"
    return f"not ready: {url} answered {status}"


def _announcements(folder: Path) -> list[_Announcement]:
    """Return each announcement file with its fields, or with its error."""
    found: list[_Announcement] = []
    for path in sorted(folder.glob("*.json")):
        try:
            announced = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # the service has just stopped
            continue
        except (OSError, ValueError) as error:
            found.append((path, f"{path}: {error}"))
            continue
        found.append((path, announced if isinstance(announced, dict) else f"{path}: expected a JSON object"))
    return found
