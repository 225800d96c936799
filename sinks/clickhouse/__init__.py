"""ClickHouse target: tables, exactly-once inserts, and SQL on the embedded engine."""
