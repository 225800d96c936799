from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.rest.problems import TITLES
from tests.conftest import ROOT
from tests.documents import documents
from tests.fixtures.gateway import serving

METHODS = ("get", "post", "delete")


@pytest.fixture
async def document(tmp_path: Path) -> Any:
    async with serving(tmp_path) as served:
        return await served.get("/api/openapi.json")


async def test_the_document_is_valid_and_has_every_route(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    assert {path.removeprefix("/api/v1") for path in document["paths"]} == {
        "/exchanges",
        "/instruments",
        "/books/{venue}/{symbol}",
        "/trades",
        "/candles",
        "/arbitrage/opportunities",
        "/delta-stats/summary",
        "/delta-stats/{venue}/{symbol}",
        "/events",
        "/system/health",
        "/system/status",
        "/venues/{venue}/symbols",
        "/venues/{venue}/symbols/{symbol}",
    }


async def test_paths_that_the_documents_name_are_in_it(document: Any) -> None:
    known = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in document["paths"]]
    named = {
        (path.relative_to(ROOT).as_posix(), url)
        for path in documents()
        for url in re.findall(r"/api/v1/[^\s`\"'?)|,]*", path.read_text(encoding="utf-8"))
        if not url.endswith("…")
    }
    assert len(named) > 10
    assert [each for each in sorted(named) if not any(path.fullmatch(each[1]) for path in known)] == []


async def test_every_operation_and_every_error_has_an_example(document: Any) -> None:
    for path, routes in document["paths"].items():
        for method, operation in routes.items():
            assert method in METHODS
            assert operation["summary"], path
            assert operation["description"], path
            for status, response in operation["responses"].items():
                assert response["description"], (path, status)
                kind = "application/json" if status < "300" else "application/problem+json"
                content = response["content"][kind]
                assert content["schema"]["$ref"].startswith("#/components/schemas/"), (path, status)
                assert content["example"], (path, status)
                assert status < "300" or content["example"]["status"] == int(status)
                assert status < "300" or response["content"].keys() == {kind}, (path, status)


async def test_the_document_has_an_entity_tag(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, aiohttp.ClientSession() as http:
        url = f"{served.url}/api/openapi.json"
        async with http.get(url) as first:
            assert first.headers["Cache-Control"] == "no-cache"
            tag = first.headers["ETag"]
        async with http.get(url, headers={"If-None-Match": tag}) as again:
            assert (again.status, await again.read()) == (304, b"")
        async with http.get(url, headers={"If-None-Match": '"other"'}) as other:
            assert other.status == 200


async def test_every_resource_is_in_the_guide(document: Any) -> None:
    guide = (ROOT / "docs" / "rest.md").read_text()
    for path, routes in document["paths"].items():
        for method in routes:
            assert f"| `{method.upper()} {path.removeprefix('/api/v1')}` |" in guide
    for code in TITLES.keys() - {"forbidden", "unauthorized"}:
        assert f"`{code}`" in guide, code
