"""Checkpoints: the processors' state on a compacted topic."""
