"""``alphapulse dlq``: dead letters listed, shown, replayed and dropped."""
