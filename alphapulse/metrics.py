"""Every metric of every service, in one list. Names follow Prometheus: base units, ``_total`` for counters.

Labels are bounded: venue, topic, group, kind, never a symbol. What is per frame or per record is counted elsewhere and
told here once a batch, once a second or when it is asked for: a metric costs more than a frame. The reference in
``docs/metrics.md`` is made of this list by ``scripts/metrics_doc.py``.
"""

from __future__ import annotations

import platform
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from alphapulse.version import installed_version

# --- collectors (producers/) -------------------------------------------------------------------------------

FRAMES = Counter("alphapulse_frames", "Frames received from the venue", ["venue"])
"""Every frame, whatever became of it."""
FRAMES_IGNORED = Counter("alphapulse_frames_ignored", "Frames no channel of ours needs", ["venue"])
RECORDS = Counter("alphapulse_records", "Records acknowledged by the broker", ["venue", "topic"])
GAPS = Counter("alphapulse_gaps", "Losses detected in a venue's feed", ["venue", "kind"])
"""``kind``: one of :data:`GAP_KINDS`."""
GAP_KINDS: Final = ("sequence", "checksum", "crossed", "trade_id", "connection", "silence", "refused", "late")
RESYNCS = Counter("alphapulse_resyncs", "Epochs opened after the first one", ["venue"])
CONNECTIONS = Counter("alphapulse_connections", "Connections to the venue that were opened", ["venue"])
CONNECTED = Gauge("alphapulse_connected", "1 while at least one connection to the venue is open, else 0", ["venue"])
EXCHANGE_AGE = Histogram(
    "alphapulse_exchange_age_seconds",
    "Time from the venue's own time of a book frame to its receipt: the newest frame of each connection, once a second",
    ["venue"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
"""Clocks of two parties are compared: what it tells is the network's delay and the difference of the clocks."""
EXCHANGE_AGE_LAST = Gauge(
    "alphapulse_exchange_age_last_seconds",
    "The same of the newest frame; negative: the venue's clock is ahead of ours",
    ["venue"],
)
REQUEST_BUDGET = Gauge(
    "alphapulse_request_budget_ratio",
    "Share of the venue's limit that could be spent at once; 0 also while the venue told us to pause",
    ["venue", "limit"],
)
"""``limit``: connects, rest, messages (where all connections share one)."""
IN_FLIGHT = Gauge("alphapulse_in_flight_records", "Records handed to the client, not yet acknowledged", ["venue"])
IN_FLIGHT_BYTES = Gauge("alphapulse_in_flight_bytes", "Their size, encoded", ["venue"])
PUBLISH_SECONDS = Histogram(
    "alphapulse_publish_seconds",
    "Time from the sending of a record until its acknowledgement is polled: with the next record, or after 0.25 s",
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
GATEWAY_ACCESS = Counter("alphapulse_gateway_access", "Entries of the audit log, repetitions included", ["action"])
"""``action``: granted, refused, forbidden, limited, key_created, key_revoked, keys_refused (docs/access.md)."""
GATEWAY_AUDIT_DROPPED = Counter(
    "alphapulse_gateway_audit_dropped", "Audit events that were logged but not published on ops.events"
)
GATEWAY_RECORDS = Counter("alphapulse_gateway_records", "Records read from the broker", ["topic", "outcome"])
"""``outcome``: taken, seen (a repetition, ignored), refused (kept in dlq)."""
GATEWAY_L2_FAILURES = Counter(
    "alphapulse_gateway_book_reading_failures", "Failures of the reading of whole books, each begun anew after a pause"
)
GATEWAY_BOOKS = Gauge("alphapulse_gateway_books", "Books as clients are told they are", ["venue", "status"])
"""``status``: good, stale, invalid."""
DELIVERY_AGE = Histogram(
    "alphapulse_delivery_age_seconds",
    "Time from a record's receipt by its collector to its writing to clients: the oldest book or trade of each flush",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
GROUP_LAG = Gauge(
    "alphapulse_group_lag_records",
    "Records a consumer group has not committed, as the gateway reads it from the broker; absent while it cannot",
    ["group", "topic"],
)
GROUP_LAG_SECONDS = Gauge(
    "alphapulse_group_lag_seconds",
    "For how long, at least, the group's oldest uncommitted record has been on the broker",
    ["group", "topic"],
)

# --- stream processors (stream_processors/) ------------------------------------------------------------------

PROCESSED = Counter("alphapulse_processed_records", "Records applied by the stream processors", ["topic"])
PROCESSING_AGE = Histogram(
    "alphapulse_processing_age_seconds",
    "Time from a record's receipt by its collector to its application: the last record of each batch",
    ["topic"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
"""What is read again after a restart counts, too, with its age of then."""
PROCESSED_GAPS = Counter("alphapulse_book_gaps", "Records found missing within a book's epoch on md.l2", ["venue"])
BOOKS = Gauge("alphapulse_books", "Books held by this worker", ["valid"])
CHECKPOINTS = Counter("alphapulse_checkpoints", "Checkpoints of a partition written by the stream processors")
CHECKPOINT_BYTES = Counter("alphapulse_checkpoint_bytes", "Their size before compression")
CHECKPOINT_AGE = Gauge(
    "alphapulse_checkpoint_age_seconds",
    "Age of the oldest checkpoint of this worker's partitions that have applied records since; 0: there are none",
)
LATE_TRADES = Gauge("alphapulse_late_trades", "Trades that came too late to change their candle, on this worker")
DOUBTED_TRADES = Gauge(
    "alphapulse_doubted_trades",
    "Trades without a credible time of their venue, on this worker: they count at their receipt",
)
OPPORTUNITIES = Gauge("alphapulse_open_opportunities", "Arbitrage opportunities open on this worker")

# --- sinks (sinks/) ------------------------------------------------------------------------------------------

SINK_ROWS = Counter(
    "alphapulse_sink_rows",
    "Rows stored and committed by a sink; of md.depth records, before ClickHouse's sampling",
    ["topic"],
)
SINK_BATCH_RECORDS = Histogram(
    "alphapulse_sink_batch_records",
    "Records of a committed batch, refused ones included",
    buckets=(1, 10, 100, 1_000, 10_000, 50_000, 100_000),
)
SINK_WRITE_SECONDS = Histogram(
    "alphapulse_sink_write_seconds",
    "Time the target took to store a batch",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SINK_UNWRITTEN_AGE = Gauge(
    "alphapulse_sink_unwritten_age_seconds",
    "How long ago the oldest record was fetched that is not stored yet; 0: all are",
)
SINK_AGE = Histogram(
    "alphapulse_sink_age_seconds",
    "Time from a record's receipt by its collector to its commit by the sink: the oldest of each topic and batch",
    ["topic"],
    buckets=(0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300),
)

# --- simulated venues (producers/simulator/) -----------------------------------------------------------------

SIMULATOR_SLOW_CLIENTS = Counter(
    "alphapulse_simulator_slow_clients", "Clients cut off because they did not keep up", ["venue"]
)

# --- everywhere --------------------------------------------------------------------------------------------

BUILD = Gauge("alphapulse_build_info", "Always 1; the labels say what runs", ["version", "python"])
BUILD.labels(installed_version(), platform.python_version()).set(1)
READY = Gauge("alphapulse_ready", "What /ready says: 1 while the service does its work, else 0")
LAG = Gauge(
    "alphapulse_lag_records",
    "Records in this process's partitions that it knows of and has not applied (sinks: committed)",
    ["group", "topic"],
)
"""``group``: the consumer group; ``gateway`` for the gateway, which reads without one."""
DEAD_LETTERS = Counter("alphapulse_dead_letters", "Input that was refused and kept in dlq", ["service", "error"])
RECORDS_LOST = Counter(
    "alphapulse_records_lost", "Records the broker dropped before they were read", ["topic", "partition"]
)


def exposition() -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST
