"""Every metric of every service, in one list. Names follow Prometheus: base units, ``_total`` for counters."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

# --- collectors (producers/) -------------------------------------------------------------------------------

FRAMES = Counter("alphapulse_frames", "Frames received from the venue", ["venue"])
"""Every frame, whatever became of it."""
FRAMES_IGNORED = Counter("alphapulse_frames_ignored", "Frames no channel of ours needs", ["venue"])
RECORDS = Counter("alphapulse_records", "Records acknowledged by the broker", ["venue", "topic"])
GAPS = Counter("alphapulse_gaps", "Losses detected in a venue's feed", ["venue", "kind"])
"""``kind``: sequence, checksum, crossed, trade_id, connection, silence, refused, late."""
RESYNCS = Counter("alphapulse_resyncs", "Epochs opened after the first one", ["venue"])
CONNECTIONS = Counter("alphapulse_connections", "Connections to the venue that were opened", ["venue"])
IN_FLIGHT = Gauge("alphapulse_in_flight_records", "Records handed to the client, not yet acknowledged", ["venue"])
IN_FLIGHT_BYTES = Gauge("alphapulse_in_flight_bytes", "Their size, encoded", ["venue"])
PUBLISH_SECONDS = Histogram(
    "alphapulse_publish_seconds",
    "Time from the frame's receipt to the broker's acknowledgement",
    ["venue"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)

# --- gateway (gateway/) ------------------------------------------------------------------------------------

GATEWAY_CONNECTIONS = Gauge("alphapulse_gateway_connections", "WebSocket clients connected")
GATEWAY_SUBSCRIPTIONS = Gauge("alphapulse_gateway_subscriptions", "Subscriptions of all clients", ["channel"])
GATEWAY_DELIVERIES = Counter("alphapulse_gateway_deliveries", "Messages written, counted once per client")
GATEWAY_WRITES = Counter("alphapulse_gateway_writes", "WebSocket frames written; one joins several messages")
GATEWAY_BYTES = Counter("alphapulse_gateway_written_bytes", "Bytes of those frames")
GATEWAY_CONFLATIONS = Counter(
    "alphapulse_gateway_conflations", "Feeds whose queued messages were dropped for a later snapshot"
)
"""One slow client with eight subscriptions counts up to eight."""
GATEWAY_DISCONNECTS = Counter("alphapulse_gateway_disconnects", "Connections the gateway closed", ["code"])
"""``code``: gateway/close_codes.py."""
GATEWAY_REFUSED = Counter("alphapulse_gateway_refused_messages", "Client messages answered with an error", ["code"])
GATEWAY_RECORDS = Counter("alphapulse_gateway_records", "Records read from the broker", ["topic", "outcome"])
"""``outcome``: taken, seen (a repetition, ignored), refused (kept in dlq)."""

# --- stream processors (stream_processors/) ------------------------------------------------------------------

PROCESSED = Counter("alphapulse_processed_records", "Records applied by the stream processors", ["topic"])
PROCESSED_GAPS = Counter("alphapulse_book_gaps", "Records found missing within a book's epoch on md.l2", ["venue"])
BOOKS = Gauge("alphapulse_books", "Books held by this worker", ["valid"])
CHECKPOINTS = Counter("alphapulse_checkpoints", "Checkpoints of a partition written by the stream processors")
CHECKPOINT_BYTES = Counter("alphapulse_checkpoint_bytes", "Their size before compression")
LATE_TRADES = Gauge("alphapulse_late_trades", "Trades that came too late to change their candle, on this worker")
DOUBTED_TRADES = Gauge(
    "alphapulse_doubted_trades",
    "Trades without a credible time of their venue, on this worker: they count at their receipt",
)
OPPORTUNITIES = Gauge("alphapulse_open_opportunities", "Arbitrage opportunities open on this worker")

# --- simulated venues (producers/simulator/) -----------------------------------------------------------------

SIMULATOR_SLOW_CLIENTS = Counter(
    "alphapulse_simulator_slow_clients", "Clients cut off because they did not keep up", ["venue"]
)

# --- everywhere --------------------------------------------------------------------------------------------

DEAD_LETTERS = Counter("alphapulse_dead_letters", "Input that was refused and kept in dlq", ["service", "error"])
RECORDS_LOST = Counter(
    "alphapulse_records_lost", "Records the broker dropped before they were read", ["topic", "partition"]
)


def exposition() -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST
