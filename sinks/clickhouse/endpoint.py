"""``POST /sql`` on the ops port of a ClickHouse sink with the embedded engine."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from sinks.clickhouse.engine import Engine
from sinks.clickhouse.readonly import QueryRefused, ask, restrict

DEFAULT_FORMAT: Final = "JSONCompact"
WAITING: Final = 16
"""Queries that may wait for their turn."""


class SqlEndpoint:
    """Answers queries in a thread of its own, so that a long one holds up neither sink nor loop.

    Each has a session of its own, for what :meth:`sinks.clickhouse.engine.Engine._renew` says.

    Args:
        engine: embedded and open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sql")
        self._waiting = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the query in the body, in the format named by ``?format=``; 400 with the reason if it is refused."""
        if self._waiting >= WAITING:
            return web.Response(status=503, text=f"{self._waiting} queries are waiting already")
        try:
            query = (await request.read()).decode()
        except UnicodeDecodeError:
            return web.Response(status=400, text="the query is not UTF-8 text")
        output_format = request.query.get("format", DEFAULT_FORMAT)
        self._waiting += 1
        try:
            body = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, query, output_format)
        except QueryRefused as error:
            return web.Response(status=400, text=str(error))
        finally:
            self._waiting -= 1
        kind = "application/json" if output_format.startswith("JSON") else "text/plain"
        return web.Response(body=body, content_type=kind, charset="utf-8")

    def _ask(self, query: str, output_format: str) -> bytes:
        client = self._engine.another_client()
        try:
            restrict(client)
            return ask(client, query, output_format)
        finally:
            client.close()

    async def close(self) -> None:
        """End the query that runs, and answer no more."""
        if self._waiting:
            await self._engine.command("KILL QUERY WHERE query_id != queryID() ASYNC")
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
