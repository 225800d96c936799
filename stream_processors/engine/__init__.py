"""The Faust worker: consumption, publication, and which partitions are owned."""
