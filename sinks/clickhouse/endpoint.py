"""SQL endpoint ``POST /sql`` on the ops port of a ClickHouse sink with the embedded engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from aiohttp import web
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.engine import Engine
from sinks.clickhouse.readonly import QueryRefused, ask, restrict

DEFAULT_FORMAT: Final = "JSONCompact"
WAITING: Final = 16
"""Maximum queries waiting."""
GONE_SECONDS: Final = 0.1
"""Interval at which a query is ended if its client has disconnected."""
PARAMETER: Final = "param_"
"""``?param_name=value`` is the value of ``{name:Type}`` in the query, as in ClickHouse's own HTTP interface."""
END_QUERY: Final = "KILL QUERY WHERE query_id != queryID() ASYNC"
"""The engine runs one statement at a time besides these queries, and this is it."""


class SqlEndpoint:
    """Answers queries in its own thread, so that a long one blocks neither sink nor loop.

    Each query has its own session; see :meth:`sinks.clickhouse.engine.Engine._renew`. The next one is made after each
    answer, because that takes longer than a small query.

    Args:
        engine: embedded and open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sql")
        self._waiting = 0
        self._spare: Client | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the query in the body, in the format of ``?format=``; 400 with the reason if it is refused."""
        if self._waiting >= WAITING:
            return web.Response(status=503, text=f"{self._waiting} queries are already waiting; try again later")
        try:
            query = (await request.read()).decode()
        except UnicodeDecodeError:
            return web.Response(status=400, text="the query is not UTF-8 text")
        output_format = request.query.get("format", DEFAULT_FORMAT)
        bound = {
            name.removeprefix(PARAMETER): value for name, value in request.query.items() if name.startswith(PARAMETER)
        }
        self._waiting += 1
        try:
            work = self._thread.submit(self._ask, query, output_format, bound)
            self._thread.submit(self._prepare)
            body = await self._watched(request, work)
        except QueryRefused as error:
            return web.Response(status=400, text=str(error))
        finally:
            self._waiting -= 1
        kind = "application/json" if output_format.startswith("JSON") else "text/plain"
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _watched(self, request: web.Request, work: Future[bytes]) -> bytes:
        """Return the answer; end the query if the client disconnects before."""
        answer = asyncio.wrap_future(work)
        ending = False
        while not answer.done():
            await asyncio.wait({answer}, timeout=GONE_SECONDS)
            if answer.done() or ending or not _gone(request):
                continue
            ending = True
            # One that has not begun yet never will; otherwise it is the only one that runs.
            if not work.cancel():
                await self._engine.command(END_QUERY)
        if answer.cancelled():
            raise QueryRefused("the client has disconnected")
        return answer.result()

    def _ask(self, query: str, output_format: str, parameters: Mapping[str, str]) -> bytes:
        client, self._spare = self._spare or self._session(), None
        try:
            return ask(client, query, output_format, parameters)
        finally:
            client.close()

    def _session(self) -> Client:
        client = self._engine.another_client()
        restrict(client)
        return client

    def _prepare(self) -> None:
        if self._spare is None:
            self._spare = self._session()

    async def close(self) -> None:
        """Cancel the running query, and answer no more."""
        if self._waiting:
            await self._engine.command(END_QUERY)
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        if self._spare is not None:
            self._spare.close()


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
