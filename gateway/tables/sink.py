"""Tables of the embedded database, which the ClickHouse sink's process holds: queries go to its ops port.

chDB lets one process open a folder, and while the sink runs that is the sink, which answers read-only queries on
``POST /sql`` (:mod:`sinks.clickhouse.endpoint`). Its port is in ``data_dir/run/sink-clickhouse.json``.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import aiohttp
import pyarrow as pa

from alphapulse.config import Settings
from gateway.tables.arrow import decoded
from gateway.tables.errors import FailureLog, TablesUnavailable, refusal
from gateway.tables.interface import QUERY_SECONDS, Parameters

SINK: Final = "sink-clickhouse"
_FORMAT: Final = "ArrowStream"
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


class SinkTables:
    """Implements :class:`gateway.tables.Tables`.

    Args:
        settings: ``data_dir``, where the sink announces its port, and ``ops.host``.
    """

    def __init__(self, settings: Settings) -> None:
        self._announcement = settings.data_dir / "run" / f"{SINK}.json"
        host = settings.ops.host
        self._host = _ANY_ADDRESS.get(host, host)
        self._failures = FailureLog()
        self._session: aiohttp.ClientSession | None = None

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        port = await asyncio.to_thread(_port, self._announcement)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=QUERY_SECONDS))
        url = f"http://{self._host}:{port}/sql"
        bound = {"format": _FORMAT} | {f"param_{name}": str(value) for name, value in parameters.items()}
        try:
            # A caller that is cancelled closes the connection, whereupon the sink ends the query.
            async with self._session.post(url, params=bound, data=query.encode()) as response:
                body = await response.read()
        except TimeoutError:
            raise TablesUnavailable(f"the ClickHouse sink has not answered for {QUERY_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            self._failures.failed(url, str(error))
            raise TablesUnavailable("the ClickHouse sink does not answer") from error
        if response.status == 503:
            self._failures.failed(url, body.decode(errors="replace")[:500])
            raise TablesUnavailable("the ClickHouse sink is busy")
        if response.status != 200:
            reason = body.decode(errors="replace")
            self._failures.failed(url, reason[:500])
            raise refusal(reason)
        self._failures.answered()
        return decoded(body)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _port(announcement: Path) -> int:
    """Return the sink's port.

    Raises:
        TablesUnavailable: it does not run, or is still starting.
    """
    try:
        told: Any = json.loads(announcement.read_text(encoding="utf-8"))
        port, answers = int(told["ops_port"]), bool(told.get("sql"))
    except FileNotFoundError:
        raise TablesUnavailable("no ClickHouse sink runs") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TablesUnavailable("the announcement of the ClickHouse sink cannot be read") from error
    if not answers:
        raise TablesUnavailable("the ClickHouse sink is still starting")
    return port
