"""Examples of answers, for the OpenAPI document; they are data, in ``examples.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_EXAMPLES: Final[dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("examples.json").read_text(encoding="utf-8")
)


def of(example: dict[str, Any]) -> dict[str, Any]:
    """Return the documentation of a JSON response."""
    return {"content": {"application/json": {"example": example}}}


def _csv(answer: dict[str, Any], rows: str) -> str:
    """Return the only row of ``answer[rows]`` as CSV with a header."""
    (row,) = answer[rows]
    values = ["" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
              for value in row.values()]  # fmt: skip
    return ",".join(row) + "\r\n" + ",".join(values) + "\r\n"


EXCHANGES: Final = _EXAMPLES["exchanges"]
INSTRUMENTS: Final = _EXAMPLES["instruments"]
BOOK: Final = _EXAMPLES["book"]
TRADES: Final = _EXAMPLES["trades"]
TRADES_CSV: Final = _csv(TRADES, "trades")
CANDLES: Final = _EXAMPLES["candles"]
CANDLES_CSV: Final = _csv(CANDLES, "candles")
EVENTS: Final = _EXAMPLES["events"]
EVENTS_CSV: Final = _csv(EVENTS, "events")
OPPORTUNITIES: Final = _EXAMPLES["opportunities"]
OPPORTUNITIES_CSV: Final = _csv(OPPORTUNITIES, "opportunities")
STATISTICS: Final = _EXAMPLES["statistics"]
STATISTICS_CSV: Final = _csv(STATISTICS, "windows")
SUMMARY: Final = _EXAMPLES["summary"]
SUMMARY_CSV: Final = _csv(SUMMARY, "summary")
SYMBOLS: Final = _EXAMPLES["symbols"]
HEALTH: Final = _EXAMPLES["health"]
STATUS: Final = _EXAMPLES["status"]
FAULTS: Final = _EXAMPLES["faults"]
"""Of a response that is not 2xx: ``path``, and the detail by the fault's code."""
