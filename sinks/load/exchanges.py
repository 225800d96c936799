"""Names that vendors give to exchanges."""

from __future__ import annotations

from typing import Final

RENAMED: Final = {"okex": "okx", "gdax": "coinbase", "coinbase-exchange": "coinbase"}
"""Exchanges that a vendor names otherwise than our venue with ``-`` for ``_``."""
