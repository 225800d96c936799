"""Queries on ClickHouse's tables: one small interface over a server and over the sink of an embedded database."""

from gateway.tables.bounded import BoundedTables
from gateway.tables.errors import TablesUnavailable
from gateway.tables.interface import Parameters, Tables
from gateway.tables.opening import tables_of

__all__ = ["BoundedTables", "Parameters", "Tables", "TablesUnavailable", "tables_of"]
