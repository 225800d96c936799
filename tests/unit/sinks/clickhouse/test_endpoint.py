from __future__ import annotations

import asyncio
import json

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sinks.clickhouse import endpoint
from sinks.clickhouse.endpoint import SqlEndpoint
from sinks.clickhouse.engine import Engine


async def test_queries_are_answered_refused_and_bounded_in_number(engine: Engine) -> None:
    await engine.command("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    await engine.command("INSERT INTO t VALUES (7)")
    sql = SqlEndpoint(engine)
    app = web.Application()
    app.router.add_post("/sql", sql.answer)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/sql", data="SELECT a FROM t")
        assert answer.content_type == "application/json"
        assert json.loads(await answer.text())["data"] == [["7"]] or json.loads(await answer.text())["data"] == [[7]]

        text = await client.post("/sql?format=TSV", data="SELECT a FROM t")
        assert (text.content_type, await text.text()) == ("text/plain", "7\n")

        # What a failed query has given already must not appear in the next answer.
        broken = await client.post("/sql?format=TSV", data="SELECT number FROM numbers(3000000)")
        assert broken.status == 400
        assert await (await client.post("/sql?format=TSV", data="SELECT a FROM t")).text() == "7\n"

        refused = await client.post("/sql", data="DROP TABLE t")
        assert refused.status == 400
        assert "found DROP" in await refused.text()

        no_text = await client.post("/sql", data=b"SELECT '\xff'")
        assert (no_text.status, await no_text.text()) == (400, "the query is not UTF-8 text")

        sql._waiting = endpoint.WAITING
        busy = await client.post("/sql", data="SELECT 1")
        assert busy.status == 503
        sql._waiting = 0
    await sql.close()


async def test_a_long_query_holds_up_neither_inserts_nor_the_end(engine: Engine) -> None:
    await engine.command("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    sql = SqlEndpoint(engine)
    app = web.Application()
    app.router.add_post("/sql", sql.answer)
    async with TestClient(TestServer(app)) as client:
        query = "SELECT count() FROM numbers(3000000000) WHERE sipHash64(number) % 7 = 1"
        long = asyncio.create_task(client.post("/sql?format=TSV", data=query))
        for number in range(20):
            await engine.command(f"INSERT INTO t VALUES ({number})")
        assert not long.done()
        assert await engine.rows("SELECT count() FROM t") == [(20,)]
        await asyncio.wait_for(sql.close(), 10)
        ended = await long
        assert ended.status == 400
        assert "QUERY_WAS_CANCELLED" in await ended.text()
