"""Names in requests: the stored ones are read once a minute."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from alphapulse.errors import UnknownInstrument
from gateway.rest import names as module
from gateway.rest.names import FRESH_SECONDS, Names
from gateway.state import MarketState
from gateway.tables import Parameters, TablesUnavailable


class Stored:
    """Tables with one instrument."""

    def __init__(self) -> None:
        self.queries = 0
        self.failure = ""

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        self.queries += 1
        if self.failure:
            raise TablesUnavailable(self.failure)
        return pa.table({"venue": ["bitmex"], "symbol": ["XBT-USD"]})

    async def close(self) -> None:
        """Nothing to close."""


async def test_stored_names_are_read_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    stored = Stored()
    names = Names(MarketState({"kraken": ("BTC-USD",)}, max_book_age=1), stored)
    await names.check("kraken", "BTC-USD")
    assert stored.queries == 0
    for _ in range(5):
        for venue, symbol in (("bitmex", None), (None, "XBT-USD"), ("bitmex", "XBT-USD")):
            await names.check(venue, symbol)
        for venue, symbol in ((None, "NOSUCH"), ("kraken", "XBT-USD")):
            with pytest.raises(UnknownInstrument):
                await names.check(venue, symbol)
    assert stored.queries == 1
    now += FRESH_SECONDS
    stored.failure = "away"
    for _ in range(3):
        with pytest.raises(TablesUnavailable, match="away"):
            await names.check(None, "NOSUCH")
    assert stored.queries == 2
    stored.failure = ""
    now += 2
    with pytest.raises(UnknownInstrument):
        await names.check(None, "NOSUCH")
