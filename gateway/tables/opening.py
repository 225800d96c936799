"""The tables that a configuration means."""

from __future__ import annotations

from alphapulse.config import Settings
from gateway.tables.bounded import BoundedTables
from gateway.tables.interface import Tables
from gateway.tables.server import ServerTables
from gateway.tables.sink import SinkTables


def tables_of(settings: Settings) -> Tables:
    """Return the tables of ``[clickhouse] dsn``: a server's, or (empty, ``chdb:``) those the sink's process holds."""
    dsn = settings.clickhouse.dsn
    embedded = not dsn or dsn.startswith("chdb:")
    return BoundedTables(SinkTables(settings) if embedded else ServerTables(settings.clickhouse))
