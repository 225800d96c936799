"""The stream's client (protocol version 2): typed messages, kept books, recovery after reconnections.

    async with Client("ws://127.0.0.1:8000/ws/v2") as client:
        async for message in client.subscribe("book", venue="kraken", symbol="BTC-USD"):
            print(client.book("kraken", "BTC-USD").best_bid)

:class:`~alphapulse.client.session.Session` is the protocol without I/O, for other event loops. See docs/clients.md.
"""

from alphapulse.client.book import Book, checksum
from alphapulse.client.client import Client, Subscription
from alphapulse.client.errors import (
    ClientClosed,
    ClientError,
    ConnectionRefused,
    CredentialsRefused,
    Disconnected,
    OperationRefused,
    ProtocolError,
    SubscriptionOverlap,
)
from alphapulse.client.messages import (
    Alert,
    AlertsSnapshot,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    FeedMessage,
    Gap,
    Level,
    OpportunitiesSnapshot,
    Opportunity,
    Stats,
    Status,
    Trade,
    Trades,
    TradesSnapshot,
    exact,
)

__all__ = [
    "Alert",
    "AlertsSnapshot",
    "Bbo",
    "Book",
    "BookDelta",
    "BookSnapshot",
    "Candle",
    "Client",
    "ClientClosed",
    "ClientError",
    "ConnectionRefused",
    "CredentialsRefused",
    "Disconnected",
    "FeedMessage",
    "Gap",
    "Level",
    "OperationRefused",
    "OpportunitiesSnapshot",
    "Opportunity",
    "ProtocolError",
    "Stats",
    "Status",
    "Subscription",
    "SubscriptionOverlap",
    "Trade",
    "Trades",
    "TradesSnapshot",
    "checksum",
    "exact",
]
