"""Sinks: consume, write, commit; ClickHouse and Parquet."""
