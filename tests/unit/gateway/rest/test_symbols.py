from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alphapulse.config import load
from gateway.access.keys import NO_KEYS
from tests.fixtures.gateway import Served, serving

TEXT = '# ours\n[venues.kraken]\nsymbols = ["BTC-USD"]  # one\n'


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "exchanges.toml").write_text(TEXT)
    async with serving(tmp_path, config=folder) as running:
        yield running


async def ask(served: Served, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return status and answer of a request of somebody who may change symbols."""
    served.gate.keys = NO_KEYS
    operator = served.key("admin:symbols", name="operator")
    headers = {"Authorization": f"Bearer {operator}"}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{served.url}/api/v1/venues/{path}", json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_symbol_is_added_and_removed_with_the_collectors_own_rules(served: Served, tmp_path: Path) -> None:
    status, answer = await ask(served, "POST", "kraken/symbols", {"symbol": "ETH-USD"})
    assert (status, answer) == (
        201,
        {"venue": "kraken", "symbols": ["BTC-USD", "ETH-USD"], "file": "exchanges.toml"},
    )
    assert (tmp_path / "config/exchanges.toml").read_text() == TEXT.replace('D"]', 'D", "ETH-USD"]')
    status, answer = await ask(served, "POST", "kraken/symbols", {"symbol": "ETH-USD"})
    assert (status, answer["code"]) == (409, "symbol_exists")
    status, answer = await ask(served, "DELETE", "kraken/symbols/ETH-USD")
    assert (status, answer["symbols"]) == (200, ["BTC-USD"])
    status, answer = await ask(served, "DELETE", "kraken/symbols/BTC-USD")
    assert (status, answer["code"]) == (422, "bad_value")
    assert "no symbols; add some" in answer["detail"], "the rule of the venues"
    assert str(tmp_path) not in answer["detail"]
    status, answer = await ask(served, "DELETE", "kraken/symbols/SOL-USD")
    assert (status, answer["code"]) == (404, "unknown_instrument")
    status, answer = await ask(served, "POST", "krakn/symbols", {"symbol": "SOL-USD"})
    assert (status, answer["code"]) == (404, "unknown_instrument")
    assert load(tmp_path / "config").venues["kraken"].symbols == ("BTC-USD",)
    added, removed = served.events.taken
    assert (added.kind, added.venue, added.symbol, added.details["identity"]) == (
        "symbol_added",
        "kraken",
        "ETH-USD",
        "operator",
    )
    assert removed.kind == "symbol_removed"


async def test_without_a_folder_there_is_nothing_to_change(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        status, answer = await ask(served, "POST", "kraken/symbols", {"symbol": "ETH-USD"})
    assert (status, answer["code"]) == (409, "config_conflict")
    assert "without a configuration folder" in answer["detail"]
