"""Collector of one venue: shards, their connections, and the publisher of their records."""
