"""Access over HTTP and at the stream's handshake, over real connections on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from alphapulse import metrics
from alphapulse.config import AccessSettings
from gateway.access.http import SECRET_KEYS, secret_key
from tests.fixtures import market
from tests.fixtures.gateway import Served, serving
from tests.fixtures.market import START
from tests.fixtures.stream import messages_of

BOOK = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}
REQUIRED = AccessSettings(mode="required")
PROXIED = {"trusted_proxies": ("127.0.0.1/32",)}


async def ask(
    served: Served, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, served.url + path, headers=sent) as response,
    ):
        text = await response.text()
        return response.status, json.loads(text) if text.startswith("{") else {}, response.headers


async def test_open_rest_needs_no_credentials(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        status, _, headers = await ask(served, "/api/v1/exchanges")
        assert status == 200
        assert "RateLimit-Limit" not in headers, "this machine has no limit of its address"


async def test_required_rest_asks_for_them(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        for path in ("/api/v1/exchanges", "/api/v1/exchanges?nonsense=1", "/api/v1/books/a/b", "/api/v1/system/health"):
            status, answer, headers = await ask(served, path)
            assert (status, answer["code"]) == (401, "unauthorized")
            assert headers["WWW-Authenticate"].startswith("Bearer ")
        for header in ("Basic YTpi", "Bearer", "Bearer ", "apk_x", ""):
            status, answer, _ = await ask(served, "/api/v1/exchanges", Authorization=header)
            assert status == 401
        assert (await ask(served, "/"))[0] == 503, "the page is not built here, but nobody is asked who he is"
        assert (await ask(served, "/api/openapi.json"))[0] == 200


async def test_scopes_of_rest(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        text = served.key("rest:market")
        assert (await ask(served, "/api/v1/exchanges", Authorization=f"Bearer {text}"))[0] == 200
        assert (await ask(served, "/api/v1/exchanges", authorization=f"bearer   {text}"))[0] == 200
        status, answer, _ = await ask(served, "/api/v1/system/health", Authorization=f"Bearer {text}")
        assert (status, answer["code"], answer["message"]) == (403, "forbidden", "desk-1 has no scope rest:system")


async def test_credentials_are_not_verified_beyond_the_limit_of_their_address(tmp_path: Path) -> None:
    access = AccessSettings(mode="required", requests_per_second=0.01, request_burst=3, **PROXIED)
    async with serving(tmp_path, access=access) as served:
        verified = metrics.GATEWAY_ACCESS.labels(action="refused")._value
        before, statuses = verified.get(), []
        for _ in range(8):
            headers = {"Authorization": "Bearer apk_wrong", "X_Forwarded_For": "203.0.113.1"}
            statuses.append((await ask(served, "/api/v1/exchanges", **headers))[0])
        assert statuses == [401] * 3 + [429] * 5
        assert verified.get() - before == 3


async def test_two_headers_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served, aiohttp.ClientSession() as session:
        headers = [("Authorization", f"Bearer {served.key('rest:market')}"), ("Authorization", "Bearer x")]
        async with session.get(served.url + "/api/v1/exchanges", headers=headers) as response:
            assert response.status == 401


async def test_limits_are_stated_and_kept(tmp_path: Path) -> None:
    access = AccessSettings(mode="required", requests_per_second=0.01, request_burst=2)
    async with serving(tmp_path, access=access) as served:
        text = served.key("rest:market")
        for remaining in ("1", "0"):
            status, _, headers = await ask(served, "/api/v1/exchanges", Authorization=f"Bearer {text}")
            assert status == 200
            stated = [headers[f"RateLimit-{each}"] for each in ("Limit", "Remaining")]
            assert stated == ["2", remaining]
        status, answer, headers = await ask(served, "/api/v1/exchanges", Authorization=f"Bearer {text}")
        assert (status, answer["code"]) == (429, "rate_limited")
        assert 90 <= int(headers["Retry-After"]) <= 100
        assert headers["RateLimit-Remaining"] == "0"
        other = served.key("rest:market", name="desk-2")
        assert (await ask(served, "/api/v1/exchanges", Authorization=f"Bearer {other}"))[0] == 200


async def test_limits_by_address_behind_a_proxy(tmp_path: Path) -> None:
    access = AccessSettings(requests_per_second=0.01, request_burst=1, **PROXIED)
    async with serving(tmp_path, access=access) as served:
        for address, status in (("203.0.113.1", 200), ("203.0.113.1", 429), ("203.0.113.2", 200)):
            assert (await ask(served, "/api/v1/exchanges", X_Forwarded_For=address))[0] == status
        assert (await ask(served, "/api/v1/exchanges", X_Forwarded_For="9.9.9.9, 203.0.113.1"))[0] == 429


async def test_an_untrusted_header_does_not_change_the_address(tmp_path: Path) -> None:
    access = AccessSettings(requests_per_second=0.01, request_burst=1)
    async with serving(tmp_path, access=access) as served:
        assert (await ask(served, "/api/v1/exchanges", X_Forwarded_For="203.0.113.1"))[0] == 200
        assert (await ask(served, "/api/v1/exchanges", X_Forwarded_For="203.0.113.2"))[0] == 429


@pytest.mark.parametrize("name", sorted(SECRET_KEYS))
def test_keys_of_credentials_are_found_in_any_spelling(name: str) -> None:
    assert secret_key(f"a=1&{name.upper()}=x".encode()) == name.upper()
    assert secret_key(f"{name[0]}%{ord(name[1]):x}{name[2:]}".encode()) == name
    assert secret_key(f"venue={name}&x{name}=1".encode()) is None


async def test_credentials_in_a_url_are_refused_without_being_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    async with serving(tmp_path) as served:
        text = served.key("rest:*")
        for path in (f"/api/v1/exchanges?token={text}", f"/?access_token={text}", f"/ws/v1?api_key={text}"):
            status, answer, _ = await ask(served, path)
            assert (status, answer["code"]) == (400, "credentials_in_url")
            assert text not in json.dumps(answer)
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{served.stream}?token={text}").__aenter__()
        assert refused.value.response.status_code == 400
        assert "credentials_in_url" in refused.value.response.body.decode()
        assert text not in refused.value.response.body.decode()
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not any(text in line for line in ours)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_preflight_of_an_allowed_origin(tmp_path: Path, method: str) -> None:
    async with serving(tmp_path, access=REQUIRED, allowed_origins=("https://Desk.example/",)) as served:
        asked = {
            "Origin": "https://desk.example",
            "Access_Control_Request_Method": method,
            "Access_Control_Request_Headers": "authorization",
        }
        status, _, headers = await ask(served, "/api/v1/exchanges", method="OPTIONS", **asked)
        assert status == 200
        assert headers["Access-Control-Allow-Origin"] == "https://desk.example"
        assert "authorization" in headers["Access-Control-Allow-Headers"].lower()
        assert "Access-Control-Allow-Credentials" not in headers
        asked["Origin"] = "https://evil.example"
        status, _, headers = await ask(served, "/api/v1/exchanges", method="OPTIONS", **asked)
        assert status == 400
        assert "Access-Control-Allow-Origin" not in headers


async def test_answers_to_origins(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED, allowed_origins=("https://desk.example",)) as served:
        text = served.key("rest:*")
        for origin, allowed in (("https://desk.example", True), ("https://evil.example", False)):
            for credentials in (f"Bearer {text}", "Bearer x"):
                _, _, headers = await ask(served, "/api/v1/exchanges", Origin=origin, Authorization=credentials)
                assert ("Access-Control-Allow-Origin" in headers) == allowed
                assert headers["Vary"] == "Origin"
        _, _, headers = await ask(served, "/api/v1/exchanges", Authorization=f"Bearer {text}")
        assert headers["Vary"] == "Origin"


async def receive(client: Any) -> list[dict[str, Any]]:
    return messages_of(str(await asyncio.wait_for(client.recv(), 10)))


async def code_of(client: Any) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 whatever comes before is read
        while True:
            await asyncio.wait_for(client.recv(), 10)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_the_handshake_needs_credentials_where_they_are_required(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        for headers in ({}, {"Authorization": "Bearer apk_wrong"}, {"Authorization": "Basic x"}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(served.stream, additional_headers=headers).__aenter__()
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body)["code"] == "unauthorized"
        text = served.key("stream:book:*")
        async with connect(served.stream, additional_headers={"Authorization": f"Bearer {text}"}) as client:
            assert (await receive(client))[0]["type"] == "hello"


async def test_a_stream_gives_what_its_scopes_cover(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        served.hub.apply(market.depth(), START)
        text = served.key("stream:book:kraken")
        async with connect(served.stream, additional_headers={"Authorization": f"Bearer {text}"}) as client:
            await receive(client)
            await client.send(json.dumps(BOOK))
            assert [message["type"] for message in await receive(client)] == ["subscribed", "snapshot"]
            for channel, venue, scope in (
                ("trades", "kraken", "stream:trades:kraken"),
                ("book", "coinbase", "stream:book:coinbase"),
                ("book", "no_such_venue", "stream:book:no_such_venue"),
                ("arbitrage", None, "stream:arbitrage:*"),
            ):
                await client.send(json.dumps(BOOK | {"id": 2, "channel": channel, "venue": venue}))
                (error,) = await receive(client)
                assert (error["id"], error["code"]) == (2, "forbidden")
                assert error["message"] == f"desk-1 has no scope {scope}"


async def test_a_revoked_key_ends_its_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        mine, other = served.key("stream:*:*"), served.key("stream:*:*", name="desk-2")
        async with (
            connect(served.stream, additional_headers={"Authorization": f"Bearer {mine}"}) as client,
            connect(served.stream, additional_headers={"Authorization": f"Bearer {other}"}) as stays,
        ):
            await receive(client)
            await receive(stays)
            served.gate.keys = served.gate.keys.revoked("desk-1", served.now)
            served.hub.check()
            assert (await code_of(client))[0] == 3003
            await stays.send('{"op":"ping","id":1}')
            assert (await receive(stays))[0]["type"] == "pong"


async def test_an_expired_key_ends_its_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        text = served.key("stream:*:*", expires=served.now + 10)
        async with connect(served.stream, additional_headers={"Authorization": f"Bearer {text}"}) as client:
            await receive(client)
            served.now += 10
            served.hub.check()
            assert await code_of(client) == (3000, "token expired")


async def test_connections_beyond_the_limit_are_closed_and_places_come_free(tmp_path: Path) -> None:
    access = AccessSettings(mode="required", connections_per_identity=1)
    async with serving(tmp_path, access=access) as served:
        headers = {"Authorization": f"Bearer {served.key('stream:*:*')}"}
        async with connect(served.stream, additional_headers=headers) as client:
            await receive(client)
            async with connect(served.stream, additional_headers=headers) as second:
                assert (await code_of(second))[0] == 3013
        await served.hub.emptied(10)
        async with connect(served.stream, additional_headers=headers) as client:
            await receive(client)


async def test_too_many_messages_are_answered_with_an_error(tmp_path: Path) -> None:
    access = AccessSettings(mode="required", messages_per_second=0.001, message_burst=2)
    async with serving(tmp_path, access=access) as served:
        headers = {"Authorization": f"Bearer {served.key('stream:*:*')}"}
        async with connect(served.stream, additional_headers=headers) as client:
            await receive(client)
            for _ in range(3):
                await client.send('{"op":"ping","id":1}')
            found: list[str] = []
            while len(found) < 3:
                found += [message.get("code", message["type"]) for message in await receive(client)]
            assert found == ["pong", "pong", "rate_limited"]


async def test_errors_do_not_repeat_credentials(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        text = served.key("stream:*:*")
        async with connect(served.stream) as client:
            await receive(client)
            for message in (text, json.dumps({"op": text}), json.dumps(BOOK | {"venue": text})):
                await client.send(message)
                (error,) = await receive(client)
                assert error["type"] == "error"
                assert text not in json.dumps(error)
        status, answer, _ = await ask(served, f"/api/v1/books/{text}/BTC-USD?{text}=1")
        assert status == 422
        assert text not in json.dumps(answer)


async def test_ranges_need_the_scope_of_history(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        narrow = {"Authorization": f"Bearer {served.key('rest:market')}"}
        wide = {"Authorization": f"Bearer {served.key('rest:market', 'rest:history', name='desk-2')}"}
        assert (await ask(served, "/api/v1/trades", **narrow))[0] == 200
        for path in (
            "/api/v1/trades?from=1",
            "/api/v1/candles?cursor=x",
            "/api/v1/events",
            "/api/v1/trades?order=asc",
            "/api/v1/delta-stats/kraken/BTC-USD?order=asc&limit=1",
        ):
            status, answer, _ = await ask(served, path, **narrow)
            assert (status, answer["code"], answer["detail"]) == (403, "forbidden", "desk-1 has no scope rest:history")
            assert (await ask(served, path, **wide))[0] != 403


async def test_all_rows_in_another_format_need_the_scope_of_history(tmp_path: Path) -> None:
    async with serving(tmp_path, access=REQUIRED) as served:
        narrow = {"Authorization": f"Bearer {served.key('rest:market')}"}
        for accept in ("text/csv", "text/*", "application/vnd.apache.parquet, application/json;q=0.5"):
            for path in ("/api/v1/trades", "/api/v1/arbitrage/opportunities?state=all"):
                status, answer, _ = await ask(served, path, **narrow, Accept=accept)
                assert (status, answer["detail"]) == (403, "desk-1 has no scope rest:history")
        # Without tables the newest rows are those in memory.
        status, _, headers = await ask(served, "/api/v1/trades?limit=5", **narrow, Accept="text/csv")
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/csv")
        assert (await ask(served, "/api/v1/exchanges", **narrow, Accept="text/csv"))[0] == 406


async def test_only_credentials_with_that_scope_change_symbols(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        path = "/api/v1/venues/kraken/symbols/BTC-USD"
        status, answer, _ = await ask(served, path, method="DELETE")
        assert (status, answer["detail"]) == (403, "everyone has no scope admin:symbols")
        text = served.key("admin:symbols")
        status, answer, _ = await ask(served, path, method="DELETE", Authorization=f"Bearer {text}")
        assert (status, answer["code"]) == (409, "config_conflict"), "there is no file here"


async def test_the_document_names_the_credentials(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        document = await served.get("/api/openapi.json")
        assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if method in ("get", "post", "delete"):
                    assert operation["security"] == [{"bearer": []}], path
                    assert {"401", "403", "429"} <= operation["responses"].keys(), path
