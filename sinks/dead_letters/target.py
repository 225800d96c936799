"""Where a replay stores rows: a ClickHouse server, the folder of an embedded one, or the sink that holds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from alphapulse.claim import InUse, claim
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from schemas.codec import Codec
from sinks.clickhouse.database import sink_port
from sinks.clickhouse.engine import Engine, database_folder
from sinks.clickhouse.replay import Outcome, replay
from sinks.clickhouse.replay_endpoint import heard, places
from sinks.clickhouse.tables import migrate, tune
from sinks.letters import Letter

ANSWER_SECONDS: Final = 600.0
LETTERS: Final = 500
"""Letters that a sink is asked for at once: each is a row, and each row a block of its own."""


async def store(settings: Settings, codec: Codec, incarnation: str, letters: Sequence[Letter]) -> Outcome:
    """Store the rows of ``letters`` that are not stored.

    Raises:
        ServiceError: ClickHouse, or the sink that holds it, does not answer or refuses.
    """
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
        outcome = await replay(engine, codec, incarnation, places(list(letters)))

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
