"""Schemathesis: requests generated from the OpenAPI document against a live gateway with stored data.

Fifteen seconds; ``REST_FUZZ_SECONDS=300`` makes it five minutes. Responses must have a documented status, media type
and form, and none may be a fault of the gateway.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from schemas.records import Record
from tests.fixtures import market
from tests.integration.gateway.conftest import Feed
from tests.integration.gateway.test_rest import HOUR, SECOND, stored

pytestmark = pytest.mark.unmeasured

SECONDS = int(os.environ.get("REST_FUZZ_SECONDS", "15"))
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method"
)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 180)
async def test_no_request_breaks_the_interface(tmp_path: Path, kafka: KafkaSettings, feed: Feed) -> None:
    now = time.time_ns()
    records: list[Record] = [
        *(market.trade(str(number), received_time=now - HOUR + number * SECOND) for number in range(100)),
        *(
            market.statistics(window_start=now - HOUR + n * SECOND, window_end=now - HOUR + (n + 1) * SECOND)
            for n in range(50)
        ),
        market.candle(interval=60 * SECOND, open_time=now // (60 * SECOND) * 60 * SECOND - HOUR),
        market.opportunity("a", updated_time=now - HOUR),
        market.opportunity("b", updated_time=now - HOUR, state="CLOSED", close_reason="gone"),
        market.event("gap", time=now - HOUR),
    ]
    async with stored(tmp_path, kafka, feed, records) as rest:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{rest.url}/api/openapi.json"]
        options = [
            "--checks",
            CHECKS,
            "--workers",
            "1",
            "--max-time",
            str(SECONDS),
            "--seed",
            "1",
            "--no-color",
            "--request-timeout",
            "30",
            "--generation-database",
            "none",
            "--max-examples",
            "100000",
            "--phases",
            "examples,coverage,fuzzing",
        ]
        process = await asyncio.create_subprocess_exec(
            *command, *options, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(SECONDS + 120):
            told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()[-8000:]
        assert (await rest.json("system/health"))["services"]["gateway"]["status"] == "ok"
