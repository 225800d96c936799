"""Latency of each hop between a venue and this gateway's sockets, from the records that it reads anyway.

A record has the venue's time, its collector's and, as Kafka's timestamp (ms), that of the producer that published it:
no clock of the broker's. A sample of the records is looked at: of each batch the first record, and every eighth after
it. Hosts' clocks differ, which shows as a latency that is too small, or negative: it is not corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.health.latencies import Latencies, Percentiles
from schemas.records import Depth, Record, Trade

EVERY: Final = 8
"""Of a batch, the first record and each so many after it are looked at."""

VENUE_TO_COLLECTOR: Final = "venue_to_collector"
COLLECTOR_TO_BROKER: Final = "collector_to_broker"
COLLECTOR_TO_PROCESSOR: Final = "collector_to_processor"
BROKER_TO_GATEWAY: Final = "broker_to_gateway"
GATEWAY_TO_SENT: Final = "gateway_to_sent"

HOPS: Final = {
    VENUE_TO_COLLECTOR: "exchange_time → received_time of trades and books, where the venue gives its time",
    COLLECTOR_TO_BROKER: "received_time → publication of the record in md.trades",
    COLLECTOR_TO_PROCESSOR: "received_time of the newest update in a book → publication of the book in md.depth; the "
    "way over the broker and the processor",
    BROKER_TO_GATEWAY: "publication of a book or trade → read by this gateway",
    GATEWAY_TO_SENT: "read by this gateway → written to the clients' sockets, of records that a client waits for",
}
"""Hop → between which times it is measured."""

_US: Final = 1000
_MS: Final = 1_000_000


class Hops:
    """Latencies by hop; times are ns since the Unix epoch."""

    def __init__(self) -> None:
        self._latencies = {hop: Latencies() for hop in HOPS}

    def read(self, consumed: Sequence[Any], number: int, record: Record, now: int) -> None:
        """Note a record that was read at ``now``; only every ``EVERY``-th of a batch counts.

        Args:
            consumed: the batch, with the timestamps.
            number: index of the record in it.
            record: decoded.
            now: when the batch was read.
        """
        if number % EVERY or not isinstance(record, (Depth, Trade)):
            return
        second = now // 10**9
        published = consumed[number].timestamp
        if record.exchange_time:
            self._note(VENUE_TO_COLLECTOR, record.received_time - record.exchange_time, second)
        if published is None:
            return
        hop = COLLECTOR_TO_BROKER if isinstance(record, Trade) else COLLECTOR_TO_PROCESSOR
        self._note(hop, published * _MS - record.received_time, second)
        self._note(BROKER_TO_GATEWAY, now - published * _MS, second)

    def sent(self, read: int, now: int) -> None:
        """Note that what was read at ``read`` was written to the clients' sockets at ``now``."""
        self._note(GATEWAY_TO_SENT, now - read, now // 10**9)

    def _note(self, hop: str, latency: int, second: int) -> None:
        self._latencies[hop].note(latency // _US, second)

    def percentiles(self, now: int) -> dict[str, Percentiles | None]:
        """Return the percentiles of the minute before ``now``, by hop."""
        return {hop: each.percentiles(now // 10**9) for hop, each in self._latencies.items()}
