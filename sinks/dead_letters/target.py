"""Where a replay stores rows: a ClickHouse server, the folder of an embedded one, or the sink that holds it; files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
from aiokafka import TopicPartition

from alphapulse.claim import InUse, claim
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from alphapulse.kafka import LagReader
from schemas.codec import Codec
from sinks.clickhouse.database import sink_port
from sinks.clickhouse.engine import Engine, database_folder
from sinks.clickhouse.replay import replay
from sinks.clickhouse.replay_endpoint import heard, places
from sinks.clickhouse.tables import migrate, tune
from sinks.dead_letters.outcomes import Into
from sinks.letters import Letter
from sinks.parquet.places import configured
from sinks.parquet.replay import replay as into_files
from sinks.parquet.store import Store
from sinks.replay import Outcome, decoded, passed

ANSWER_SECONDS: Final = 600.0
LETTERS: Final = 500
"""Letters that a sink is asked for at once: each is a row, and each row a block of its own."""


async def into_clickhouse(settings: Settings, codec: Codec, incarnation: str, letters: Sequence[Letter]) -> Outcome:
    """Store the rows of ``letters`` that are not in the tables.

    Raises:
        ServiceError: ClickHouse, or the sink that holds it, does not answer or refuses.
        BrokerError: the broker cannot be reached or refuses.
    """
    stored = settings.clickhouse.topics
    kept, left = passed(places(letters), settings.clickhouse.group, stored, await _commits(settings, "clickhouse"))
    wanted = {one.place for one in kept}
    found = await _into_tables(settings, codec, incarnation, [one for one in letters if one.origin in wanted])
    found.refused += left
    return found


async def into_parquet(settings: Settings, codec: Codec, incarnation: str, letters: Sequence[Letter]) -> Outcome:
    """Store the rows of ``letters`` that are not in the Parquet files.

    Raises:
        ServiceError: there are no files, they cannot be written, or a compaction is at work on them.
        BrokerError: the broker cannot be reached or refuses.
    """
    store = configured(settings)
    if not await asyncio.to_thread(_has_files, store):
        raise ServiceError(f"{store.place}: no files there; run the Parquet sink first")
    topics = settings.parquet.topics
    outcome = Outcome()
    of_sink = []
    for one in places(letters):
        if one.topic in topics:
            of_sink.append(one)
        else:
            outcome.refused.append((one.place, "the Parquet sink does not store its topic ([parquet] topics)"))
    kept, left = passed(of_sink, settings.parquet.group, topics, await _commits(settings, "parquet"))
    outcome.refused += left
    records = decoded(codec, kept, outcome)
    decimals = settings.parquet.decimals
    found = await asyncio.to_thread(into_files, store, incarnation, records, decimals=decimals)
    found.refused += outcome.refused
    return found


def _has_files(store: Store) -> bool:
    try:
        if not store.topics():
            return False
        store.open()
    except OSError as error:
        raise ServiceError(f"parquet.path: cannot use {store.place}: {error.strerror or error}") from error
    return True


async def _commits(settings: Settings, sink: Into) -> dict[TopicPartition, int | None]:
    """Return the commits of a sink's group."""
    own = settings.clickhouse if sink == "clickhouse" else settings.parquet
    async with LagReader(settings.kafka, {own.group: own.topics}) as reader:
        found = (await reader.read())[own.group]
    return {key: partition.committed for key, partition in found.partitions.items()}


async def _into_tables(settings: Settings, codec: Codec, incarnation: str, letters: Sequence[Letter]) -> Outcome:
    engine = Engine(settings)
    if engine.embedded:
        folder = database_folder(settings.data_dir)
        if not folder.is_dir():
            raise ServiceError(f"{folder}: no database there; run the ClickHouse sink first")
        try:
            claim(folder, "database", beside=True).close()
        except InUse as error:
            port, why = sink_port(settings.data_dir, error.holder)
            if port is None:
                raise ServiceError(f"{error}, and no ClickHouse sink replays into it: {why}") from error
            return await _by_sink(port, letters)
    # One attempt: a person waits and can repeat it.
    given_up = asyncio.Event()
    given_up.set()
    reasons: list[str] = []
    engine.waiting = lambda reason: reasons.append(reason) if reason else None
    outcome = Outcome()

    async def attempt() -> None:
        nonlocal outcome
        await migrate(engine)
        if engine.embedded:
            await tune(engine)
        outcome = await replay(engine, codec, incarnation, places(letters))

    try:
        await engine.open(given_up)
        if reasons or not await engine.retry(attempt, given_up):
            raise ServiceError(reasons[-1])
    finally:
        await engine.close()
    return outcome


async def _by_sink(port: int, letters: Sequence[Letter]) -> Outcome:
    outcome = Outcome()
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        for start in range(0, len(letters), LETTERS):
            body = {"ids": [str(letter.position) for letter in letters[start : start + LETTERS]]}
            try:
                async with http.post(f"http://127.0.0.1:{port}/replay", data=json.dumps(body)) as response:
                    text = await response.text()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ServiceError(f"the ClickHouse sink on port {port} does not answer: {error}") from error
            if response.status != 200:
                raise ServiceError(f"the ClickHouse sink refuses the replay: {text}")
            answer: Any = json.loads(text)
            part = heard(answer)
            outcome.stored += part.stored
            outcome.present += part.present
            outcome.refused += part.refused
    return outcome
