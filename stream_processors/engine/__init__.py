"""Faust worker: consumption, publication, and ownership of partitions."""
