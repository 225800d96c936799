"""Checkpoints: the processors' state on compacted topics."""
