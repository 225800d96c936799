"""SQL endpoint ``POST /sql`` on the ops port of a ClickHouse sink with the embedded engine."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from sinks.clickhouse.engine import Engine
from sinks.clickhouse.readonly import QueryRefused, ask, restrict

DEFAULT_FORMAT: Final = "JSONCompact"
WAITING: Final = 16
"""Maximum queries waiting."""


class SqlEndpoint:
    """Answers queries in its own thread, so that a long one blocks neither sink nor loop.

    Each query has its own session; see :meth:`sinks.clickhouse.engine.Engine._renew`.

    Args:
        engine: embedded and open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sql")
        self._waiting = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the query in the body, in the format of ``?format=``; 400 with the reason if it is refused."""
        if self._waiting >= WAITING:
            return web.Response(status=503, text=f"{self._waiting} queries are already waiting; try again later")
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
        """Cancel the running query, and answer no more."""
        if self._waiting:
            await self._engine.command("KILL QUERY WHERE query_id != queryID() ASYNC")
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
