"""Statistics of recorded and simulated markets, by the same code: ``python -m tests.market``."""
