"""The examples of docs/rest.md, executed against a gateway with stored data."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from pathlib import Path

import pyarrow.parquet as pq
from yarl import URL

from alphapulse.config import KafkaSettings
from gateway.access import keys as key_file
from gateway.access.keys import NO_KEYS
from schemas.records import Record
from tests.conftest import ROOT
from tests.fixtures import market
from tests.integration.gateway.conftest import Feed
from tests.integration.gateway.test_rest import HOUR, SECOND, Rest, stored

DOCUMENT = (ROOT / "docs" / "rest.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


async def curl(rest: Rest, line: str, folder: Path, key: str) -> None:
    """Do what ``curl`` does with the options that the document uses."""
    command, *words = shlex.split(line)
    assert command == "curl"
    method, headers, body, output, url = "GET", {}, None, None, ""
    given = iter(words)
    for word in given:
        match word:
            case "-X":
                method = next(given)
            case "-H":
                name, _, value = next(given).partition(": ")
                headers[name] = value.replace("$KEY", key)
            case "-d":
                body = next(given)
            case "-o":
                output = folder / next(given)
            case _:
                url = word.replace("$GATEWAY", rest.url)
    async with rest.http.request(method, _encoded(url), headers=headers, data=body) as answer:
        content = await answer.read()
        assert answer.status in (200, 201), (line, content)
        assert content
    if output is not None:
        await asyncio.to_thread(output.write_bytes, content)


def _encoded(url: str) -> URL:
    return URL(url, encoded=True)


async def test_the_examples(tmp_path: Path, kafka: KafkaSettings, feed: Feed) -> None:
    now = time.time_ns()
    config = tmp_path / "config"
    config.mkdir()
    (config / "exchanges.toml").write_text('[venues.kraken]\nsymbols = ["BTC-USD"]\n')
    records: list[Record] = [
        *(market.trade(str(number), received_time=now - HOUR + number * SECOND) for number in range(300)),
        market.candle(interval=60 * SECOND, open_time=now // (60 * SECOND) * 60 * SECOND - HOUR),
        market.statistics(window_start=now - HOUR, window_end=now - HOUR + SECOND),
        market.opportunity("b", updated_time=now - HOUR, state="CLOSED", close_reason="gone"),
        market.event("gap", time=now - HOUR, severity="WARNING"),
    ]
    assert len(BLOCKS) >= 8
    keys, key = NO_KEYS.created("operator", ["admin:symbols"], now)
    (tmp_path / "access").mkdir()
    key_file.write(tmp_path / "access" / "keys.json", keys)
    async with stored(tmp_path, kafka, feed, records, config=config) as rest:
        for language, text in BLOCKS:
            if language == "sh":
                for line in text.strip().splitlines():
                    await curl(rest, line, tmp_path, key)
            else:
                await asyncio.to_thread(exec, compile(text, "docs/rest.md", "exec"), {"GATEWAY": rest.url})
    assert pq.read_table(tmp_path / "trades.parquet").num_rows == 300
    assert (tmp_path / "trades.csv").read_text().count("\n") == 301
    assert (config / "exchanges.toml").read_text() == '[venues.kraken]\nsymbols = ["BTC-USD"]\n'
