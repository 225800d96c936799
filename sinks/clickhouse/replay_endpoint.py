"""``POST /replay`` on the ops port of a ClickHouse sink with the embedded engine, which nobody else can write to.

The body names dead letters, ``{"ids": ["3/17", …]}``; the sink reads them from ``dlq`` itself, so that a caller decides
which rows are stored again, not what is in them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from alphapulse.config import Settings
from alphapulse.errors import AlphaPulseError, ArgumentsRefused
from schemas.codec import Codec
from schemas.remote import registry
from sinks.clickhouse.engine import Engine, Unreachable
from sinks.clickhouse.replay import replay
from sinks.letters import Letter, Position, Wanted, ids, read
from sinks.replay import Outcome, Place, Refused


def places(letters: Sequence[Letter]) -> list[Refused]:
    """Return what can be replayed of ``letters``: the records of topics."""
    found = [(letter.origin, letter.record.value) for letter in letters]
    return [Refused(*origin, value) for origin, value in found if origin is not None]


def told(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON; :func:`heard` is the inverse."""
    return {"stored": outcome.stored, "present": outcome.present, "refused": outcome.refused}


def heard(answer: Any) -> Outcome:
    """Return the outcome in the JSON of :func:`told`."""

    def place(of: Any) -> Place:
        return str(of[0]), int(of[1]), int(of[2])

    return Outcome(
        [place(one) for one in answer["stored"]],
        [place(one) for one in answer["present"]],
        [(place(one), str(reason)) for one, reason in answer["refused"]],
    )


class ReplayEndpoint:
    """Answers ``POST /replay``.

    Args:
        settings: broker and registry.
        engine: open.
        incarnation: of the broker's log.
    """

    def __init__(self, settings: Settings, engine: Engine, incarnation: str) -> None:
        self._settings = settings
        self._engine = engine
        self._incarnation = incarnation

    async def answer(self, request: web.Request) -> web.Response:
        """Store the rows of the letters named in the body; 400 with the reason if it is refused."""
        try:
            named = frozenset[Position](ids([str(one) for one in json.loads(await request.read())["ids"]]))
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text='expected {"ids": ["PARTITION/OFFSET", …]}')
        except ArgumentsRefused as error:
            return web.Response(status=400, text=str(error))
        try:
            codec = Codec(registry(self._settings.registry))
            letters = await read(self._settings.kafka, codec, Wanted(ids=named), lambda *_: None) if named else []
            outcome = await replay(self._engine, codec, self._incarnation, places(letters))
        except Unreachable as error:
            return web.Response(status=503, text=f"ClickHouse does not answer now: {error}")
        except AlphaPulseError as error:
            return web.Response(status=400, text=str(error))
        return web.json_response(told(outcome))
