"""Server side of Binance.US's streams: Binance's protocol, with a ping every three minutes.

https://docs.binance.us/#websocket-market-data-streams
"""

from __future__ import annotations

from typing import Final

from producers.venue_server.dialects import Dialect
from producers.venues.binance.server import dialect

DIALECT: Final[Dialect] = dialect(180.0)
