"""Consume, write, commit: ClickHouse and Parquet."""
