"""Examples of answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

_TIME: Final = 1_795_939_830_827_596
_END: Final = {"next": None, "complete_from": None, "complete_until": None}


def of(example: dict[str, Any]) -> dict[str, Any]:
    """Return the documentation of a JSON response."""
    return {"content": {"application/json": {"example": example}}}


def _csv(example: dict[str, Any]) -> str:
    """Return a row as CSV with a header."""
    values = ["" if value is None else str(value).lower() if value is True or value is False else str(value)
              for value in example.values()]  # fmt: skip
    return ",".join(example) + "\r\n" + ",".join(values) + "\r\n"


EXCHANGES: Final[dict[str, Any]] = {
    "exchanges": [
        {
            "venue": "kraken",
            "status": "connected",
            "instruments": 3,
            "valid_books": 3,
            "stale_books": 0,
            "invalid_books": 0,
            "book_age_ms": 12,
            "oldest_book_age_ms": 640,
            "records_per_second": 153.4,
            "last_record_time": _TIME,
        }
    ]
}
INSTRUMENTS: Final[dict[str, Any]] = {
    "instruments": [
        {
            "venue": "kraken",
            "symbol": "BTC-USD",
            "price_exponent": -1,
            "size_exponent": -8,
            "best_bid": "61685.9",
            "best_ask": "61686",
            "valid": True,
            "reason": None,
            "age_ms": 12,
            "status": "live",
            "tick_size": None,
            "lot_size": None,
            "taker_fee_basis_points": "40",
        }
    ]
}
BOOK: Final[dict[str, Any]] = {
    "venue": "kraken",
    "symbol": "BTC-USD",
    "valid": True,
    "reason": None,
    "age_ms": 12,
    "epoch": "1795939800123456789",
    "sequence": 4321,
    "time": _TIME,
    "bids": [["61685.9", "0.35"], ["61685.5", "1.2"]],
    "asks": [["61686", "0.8"], ["61686.4", "2"]],
}
_TRADE: Final = {
    "venue": "kraken",
    "symbol": "BTC-USD",
    "id": "74601",
    "side": "buy",
    "price": "61685.99",
    "size": "1.23456789",
    "time": _TIME - 1200,
    "received_time": _TIME,
}
TRADES: Final[dict[str, Any]] = {"trades": [_TRADE], **_END}
TRADES_CSV: Final = _csv(_TRADE)
_CANDLE: Final = {
    "venue": "kraken",
    "symbol": "BTC-USD",
    "interval": 60,
    "open_time": 1_795_939_800_000_000,
    "open": "61680",
    "high": "61690.5",
    "low": "61679.1",
    "close": "61685.99",
    "volume": "12.345",
    "quote_volume": "761513.54",
    "vwap": "61685.99",
    "trades": 87,
    "revision": 3,
    "partial": False,
}
CANDLES: Final[dict[str, Any]] = {"candles": [_CANDLE], **_END}
CANDLES_CSV: Final = _csv(_CANDLE)
_EVENT: Final = {
    "time": _TIME,
    "service": "collector-kraken",
    "kind": "resync",
    "severity": "INFO",
    "venue": "kraken",
    "symbol": "BTC-USD",
    "message": "new snapshot requested: checksum",
    "details": {},
}
EVENTS: Final[dict[str, Any]] = {"events": [_EVENT], **_END}
EVENTS_CSV: Final = _csv(_EVENT)
_OPPORTUNITY: Final = {
    "opportunity_id": "BTC-USD|kraken|coinbase|1795939830827596897",
    "state": "closed",
    "symbol": "BTC-USD",
    "buy_venue": "kraken",
    "sell_venue": "coinbase",
    "buy_price": "61685.99",
    "sell_price": "62400.5",
    "buy_limit_price": "61686.4",
    "sell_limit_price": "62400.1",
    "size": "0.5",
    "gross_profit": "357.255",
    "net_profit": "46.68",
    "net_basis_points": 15.1,
    "buy_fee_basis_points": 40.0,
    "sell_fee_basis_points": 60.0,
    "opened_time": _TIME - 900_000,
    "updated_time": _TIME,
    "buy_book_time": _TIME - 100,
    "sell_book_time": _TIME - 300,
    "close_reason": "unprofitable",
}
OPPORTUNITIES: Final[dict[str, Any]] = {"opportunities": [_OPPORTUNITY], **_END}
OPPORTUNITIES_CSV: Final = _csv(_OPPORTUNITY)
_WINDOW: Final = {
    "venue": "kraken",
    "symbol": "BTC-USD",
    "window_start": 1_795_939_829_000_000,
    "window_end": 1_795_939_830_000_000,
    "epoch": "1795939800123456789",
    "sequence": 4321,
    "valid": True,
    "snapshots": 0,
    "deltas": 40,
    "level_changes": 80,
    "levels_added": 20,
    "levels_updated": 40,
    "levels_removed": 20,
    "trades": 10,
    "bid_levels": 1000,
    "ask_levels": 1000,
    "best_bid": "61685.9",
    "best_ask": "61686",
    "latency_max": 9000,
    "latency_mean": 4000,
}
STATISTICS: Final[dict[str, Any]] = {"venue": "kraken", "symbol": "BTC-USD", "windows": [_WINDOW], **_END}
STATISTICS_CSV: Final = _csv(_WINDOW)
_SUMMARY: Final = {
    "venue": "kraken",
    "symbol": "BTC-USD",
    "windows": 240,
    "valid_windows": 239,
    "snapshots": 1,
    "deltas": 9600,
    "level_changes": 19200,
    "trades": 2400,
    "latency_max": 90000,
    "latency_mean": 4000,
}
SUMMARY: Final[dict[str, Any]] = {
    "from": _TIME - 240_000_000,
    "to": _TIME,
    "summary": [_SUMMARY],
    "complete_until": None,
}
SUMMARY_CSV: Final = _csv(_SUMMARY)
SYMBOLS: Final[dict[str, Any]] = {"venue": "kraken", "symbols": ["BTC-USD", "ETH-USD"], "file": "exchanges.toml"}
HEALTH: Final[dict[str, Any]] = {
    "status": "degraded",
    "reasons": ["sink-parquet: http://127.0.0.1:40123/ready does not answer: Connection refused"],
    "services": {
        "gateway": {"status": "ok", "message": None},
        "kafka": {"status": "ok", "message": None},
        "sink-parquet": {
            "status": "down",
            "message": "http://127.0.0.1:40123/ready does not answer: Connection refused",
        },
    },
    "lag": {"alphapulse-processors": {"records": 12, "seconds": 0.1, "age_seconds": 1.2}},
    "uptime_seconds": 86400.5,
}
_HOP: Final = {"between": "exchange_time → received_time", "count": 940, "p50": 8191, "p90": 15359, "p99": 40959}
STATUS: Final[dict[str, Any]] = {
    "time": _TIME,
    "status": "ok",
    "venues": {
        "kraken": {
            "status": "connected",
            "last_frame_age_ms": 14,
            "last_frame_source": "collector",
            "valid_books": 3,
            "stale_books": 0,
            "invalid_books": 0,
            "last_hour": {"gaps": 0, "resyncs": 0, "epochs": 3, "since": _TIME - 3_600_000_000},
        }
    },
    "services": {"processors": {"status": "ok", "ready": True, "message": None, "lag_records": 12, "lag_seconds": 0.1}},
    "hops": {"venue_to_collector": {**_HOP, "max": 51_200}},
}
