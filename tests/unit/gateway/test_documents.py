"""Fixed documents: compressed once, charged to the address."""

from __future__ import annotations

import gzip
from pathlib import Path

import aiohttp
import pytest

from alphapulse.config import AccessSettings
from gateway.documents import takes_gzip
from tests.fixtures.gateway import serving


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/asyncapi.json"])
async def test_a_document_is_compressed_once_and_charged(tmp_path: Path, path: str) -> None:
    access = AccessSettings(request_burst=5, requests_per_second=0.001, trusted_proxies=("127.0.0.1/32",))
    async with serving(tmp_path, access=access) as served:
        remote = {"X-Forwarded-For": "192.0.2.1"}
        async with aiohttp.ClientSession(headers=remote, auto_decompress=False) as http:
            async with http.get(served.url + path, headers={"Accept-Encoding": "gzip, zstd"}) as answer:
                packed, tag = await answer.read(), answer.headers["ETag"]
                assert answer.headers["Content-Encoding"] == "gzip"
            async with http.get(served.url + path, headers={"Accept-Encoding": "identity"}) as answer:
                assert gzip.decompress(packed) == await answer.read()
            async with http.get(served.url + path, headers={"If-None-Match": tag}) as answer:
                assert answer.status == 304
                assert answer.headers["RateLimit-Remaining"] == "2"
            statuses = []
            for _ in range(3):
                async with http.get(served.url + path) as answer:
                    statuses.append(answer.status)
            assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        ("gzip", True),
        ("zstd, gzip;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.0", False),
        ("zstd", False),
        ("", False),
    ],
)
def test_who_takes_gzip(accept: str, takes: bool) -> None:
    assert takes_gzip(accept) is takes
