from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.gateway import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/api/v1/exchanges", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/venues/kraken/symbols", 405, "method_not_allowed"),
        ("PATCH", "/api/v1/venues/kraken/symbols/BTC-USD", 405, "method_not_allowed"),
        ("POST", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v2/exchanges", 404, "not_found"),
        ("POST", "/assets/x", 405, "method_not_allowed"),
    ],
)
async def test_wrong_paths_and_methods(served: Served, method: str, path: str, status: int, code: str) -> None:
    async with aiohttp.ClientSession() as http, http.request(method, served.url + path) as answer:
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        body = await answer.json()
        assert (body["status"], body["code"], body["instance"]) == (status, code, path)
        if status == 405:
            allowed = {
                "/api/v1/exchanges": "GET, HEAD",
                "/assets/x": "GET, HEAD",
                "/api/v1/venues/kraken/symbols": "POST",
                "/api/v1/venues/kraken/symbols/BTC-USD": "DELETE",
            }
            assert answer.headers["Allow"] == allowed[path]


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("exchanges", "text/html", 406),
        ("exchanges", "text/html, */*;q=0.1", 200),
        ("exchanges", "text/csv", 406),
        ("trades?limit=1", "application/json;q=0", 406),
        ("trades?limit=1", "application/*", 200),
    ],
)
async def test_what_the_client_accepts(served: Served, path: str, accept: str, status: int) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{served.url}/api/v1/{path}", headers={"Accept": accept}) as answer,
    ):
        assert answer.status == status
        assert answer.content_type == ("application/json" if status == 200 else "application/problem+json")


async def test_a_header_may_have_several_lines(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        accept = [("Accept", "text/html"), ("Accept", "application/json")]
        async with http.get(f"{served.url}/api/v1/exchanges", headers=accept) as answer:
            assert answer.status == 200
        async with http.get(f"{served.url}/api/openapi.json") as first:
            tags = [("If-None-Match", '"other", W/"more"'), ("If-None-Match", first.headers["ETag"])]
        async with http.get(f"{served.url}/api/openapi.json", headers=tags) as again:
            assert again.status == 304


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("text/csv", b"symbol", 415, "media_type"),
        ("application/json", b"x" * 20_000, 413, "too_large"),
        ("application/json", b"{", 422, "bad_value"),
        ("application/json", b'{"symbol": "\xff"}', 422, "bad_value"),
        ("application/json", b'{"symbol": "BTC-USD", "venue": "kraken"}', 422, "bad_value"),
        ("application/json", b"[]", 422, "bad_value"),
        ("application/json", b"null", 422, "bad_value"),
        ("application/json", b'{"symbol": ["BTC-USD"]}', 422, "bad_value"),
        ("application/json", b'{"symbol": NaN}', 422, "bad_value"),
        ("application/json", b'{"symbol": "\\ud800"}', 422, "bad_value"),
        ("application/json", b'{"\\ud800": 1}', 422, "bad_value"),
        ("application/json", b"[" * 16_000, 422, "bad_value"),
        ("application/json", b'{"symbol": ' + b"[" * 8000 + b"]" * 8000 + b"}", 422, "bad_value"),
        ("application/json", b'{"symbol": ' + b"1" * 5000 + b"}", 422, "bad_value"),
        ("application/json; charset=utf-8", b'{"symbol": "ETH-USD"}', 409, "config_conflict"),
    ],
)
async def test_bodies(served: Served, kind: str, body: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": kind, "Authorization": f"Bearer {served.key('admin:symbols')}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served.url}/api/v1/venues/kraken/symbols", data=body, headers=headers) as answer,
    ):
        assert (answer.status, (await answer.json())["code"]) == (status, code)


async def test_a_fault_of_the_gateway_is_a_problem_without_its_details(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(served.state, "standing", broken)
    fault = await served.get("/api/v1/exchanges", 500)
    assert fault["code"] == "internal_error"
    assert "secret" not in str(fault)


async def test_head_is_get_without_its_body(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("/api/v1/exchanges", "/api/openapi.json", "/api/v1/nothing", "/"):
            async with http.get(served.url + path) as get:
                body = await get.read()
            async with http.head(served.url + path) as head:
                assert (head.status, await head.read()) == (get.status, b"")
                assert head.headers["Content-Type"] == get.headers["Content-Type"]
                assert body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_long_answers_are_compressed_short_ones_not(served: Served, encoding: str) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        headers = {"Accept-Encoding": encoding}
        async with http.get(f"{served.url}/api/openapi.json", headers=headers) as long:
            assert long.headers["Content-Encoding"] == encoding
            assert "Accept-Encoding" in long.headers["Vary"]
        async with http.get(f"{served.url}/api/v1/boks", headers=headers) as short:
            assert "Content-Encoding" not in short.headers
        parquet = headers | {"Accept": "application/vnd.apache.parquet"}
        async with http.get(f"{served.url}/api/v1/trades", headers=parquet) as file:
            assert "Content-Encoding" not in file.headers


async def test_live_data_is_not_stored_by_caches(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("exchanges", "instruments", "books/kraken/BTC-USD", "arbitrage/opportunities", "system/health"):
            async with http.get(f"{served.url}/api/v1/{path}") as answer:
                assert answer.headers["Cache-Control"] == "no-store", path
