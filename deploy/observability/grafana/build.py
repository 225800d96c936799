#!/usr/bin/env python3
"""Grafana dashboards: writes dashboards/*.json beside it. The standard library is all it needs.

Every panel has a unit, a description and, where there is one, a link to its runbook. The dashboards' variables:
``datasource``, ``venue``, and ``runbooks``, the address under which docs/runbooks of this tree can be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"
SCHEMA_VERSION: Final = 41
WIDTH: Final = 24
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

_TIDY: Final = {
    "id": "organize",
    "options": {
        "excludeByName": {"Time": True, "__name__": True, "alertstate": True, "job": True},
        "renameByName": {"Value": "Count", "alertname": "Alert"},
    },
}
"""What a table leaves out of Prometheus' labels."""

Query = tuple[str, str]
"""PromQL and legend."""


@dataclass
class Panel:
    """One panel.

    Attributes:
        queries: PromQL and legend of each.
        unit: Grafana's name of it.
        about: what it shows and what is good.
        runbook: name of a file in docs/runbooks, without suffix.
        kind: Grafana's type.
        limits: from which value on it is yellow and red (red and yellow below, if the first is the larger).
        options, defaults: added to the panel's options and field defaults.
    """

    title: str
    queries: list[Query]
    unit: str
    about: str
    runbook: str = ""
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    limits: tuple[float, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return it as Grafana wants it."""
        about = self.about + (f"\n\nRunbook: docs/runbooks/{self.runbook}.md" if self.runbook else "")
        link = {"title": f"Runbook: {self.runbook}", "url": f"${{runbooks}}/{self.runbook}.md", "targetBlank": True}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": about,
            "links": [link] if self.runbook else [],
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": DATASOURCE,
            "targets": [self._target(index, *query) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options() | self.options,
            "transformations": [_TIDY] if self.kind == "table" else [],
        }

    def _target(self, index: int, expression: str, legend: str) -> dict[str, Any]:
        now = self.kind != "timeseries"
        return {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "expr": expression,
            "legendFormat": legend,
            "instant": now,
            "range": not now,
            "format": "table" if self.kind == "table" else "time_series",
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.limits is not None:
            yellow, red = self.limits
            if yellow < red:
                steps += [{"color": "yellow", "value": yellow}, {"color": "red", "value": red}]
            else:
                steps = [
                    {"color": "red", "value": None},
                    {"color": "yellow", "value": red},
                    {"color": "green", "value": yellow},
                ]
        drawn = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
        return {
            "unit": self.unit,
            "min": 0,
            "thresholds": {"mode": "absolute", "steps": steps},
            "custom": drawn if self.kind == "timeseries" else {},
        } | self.defaults

    def _options(self) -> dict[str, Any]:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        if self.kind == "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "background",
                "graphMode": "none",
                "textMode": "auto",
            }
        return {}


def stat(title: str, query: str, unit: str, about: str, limits: tuple[float, float], **more: Any) -> Panel:
    """Return one figure on a coloured ground."""
    return Panel(title, [(query, "")], unit, about, kind="stat", width=4, height=4, limits=limits, **more)


def quantiles(histogram: str, by: str = "", legend: str = "", matching: str = "") -> list[Query]:
    """Return the median and the 99th percentile of a histogram, for each value of the label ``by``."""
    grouped = f"le, {by}" if by else "le"
    rates = f"sum by ({grouped}) (rate({histogram}_bucket{matching}[$__rate_interval]))"
    return [(f"histogram_quantile({q}, {rates})", f"{legend} p{q * 100:g}".strip()) for q in (0.5, 0.99)]


def process(services: str) -> list[Panel]:
    """Return processor time and memory of the services that match."""
    matching = f'{{job="alphapulse", service=~"{services}"}}'
    return [
        Panel(
            "Processor time",
            [(f"rate(process_cpu_seconds_total{matching}[$__rate_interval])", "{{service}} {{instance}}")],
            "percentunit",
            "Share of one core. A service of one process cannot use more than one for its Python; near 100 % "
            "it is late with everything.",
        ),
        Panel(
            "Memory",
            [(f"process_resident_memory_bytes{matching}", "{{service}} {{instance}}")],
            "bytes",
            "Resident memory of the process. The container's limit stands in docker-compose.yml.",
        ),
    ]


VENUE: Final = '{venue=~"$venue"}'
GOOD: Final = (
    'sum(alphapulse_gateway_books{status="good", venue=~"$venue"}) / sum(alphapulse_gateway_books{venue=~"$venue"})'
)

OVERVIEW: Final = [
    stat(
        "Good books",
        GOOD,
        "percentunit",
        "Share of the books that the gateway hands out as valid and young. Under 90 % something is wrong with "
        "a venue or the way to it.",
        (0.99, 0.9),
        runbook="no-valid-books",
    ),
    stat(
        "Venues without connection",
        f"sum(alphapulse_connected{VENUE} == bool 0)",
        "none",
        "Collectors that run and have no open connection to their venue.",
        (1, 2),
        runbook="venue-silent",
    ),
    stat(
        "Largest lag",
        'max(alphapulse_group_lag_seconds{group!~".*parquet.*"})',
        "s",
        "How old the oldest unread record of any consumer group is (without Parquet, which commits once a minute).",
        (5, 20),
        runbook="consumer-lag",
    ),
    stat(
        "Delivery, p99",
        "histogram_quantile(0.99, sum by (le) (rate(alphapulse_delivery_age_seconds_bucket[5m])))",
        "s",
        "From the receipt of a record by its collector to its writing to clients. Nothing is shown while no "
        "client is connected.",
        (0.25, 1),
    ),
    stat(
        "Services not ready",
        'sum(alphapulse_ready{job="alphapulse"} == bool 0) + sum(up{job="alphapulse"} == bool 0)',
        "none",
        "Services that wait for something, or do not answer.",
        (1, 2),
        runbook="not-ready",
    ),
    stat(
        "Alerts",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
        "none",
        "Alerts that fire now; the table below names them.",
        (1, 5),
    ),
    Panel(
        "Good books by venue",
        [
            (
                (
                    'sum by (venue) (alphapulse_gateway_books{status="good", venue=~"$venue"}) / sum by (venue) '
                    '(alphapulse_gateway_books{venue=~"$venue"})'
                ),
                "{{venue}}",
            )
        ],
        "percentunit",
        "The rest is invalid (its collector doubts it) or stale (not confirmed for max_book_age_ms).",
        "no-valid-books",
        defaults={"max": 1},
    ),
    Panel(
        "Frames by venue",
        [(f"sum by (venue) (rate(alphapulse_frames_total{VENUE}[$__rate_interval]))", "{{venue}}")],
        "cps",
        "Messages of the venues. A line that ends at nothing is a silent venue.",
        "venue-silent",
    ),
    Panel(
        "Losses by venue and kind",
        [(f"sum by (venue, kind) (increase(alphapulse_gaps_total{VENUE}[5m])) > 0", "{{venue}} {{kind}}")],
        "none",
        "Losses in five minutes. Each ended a book, which came back with a snapshot.",
        "feed-gaps",
    ),
    Panel(
        "How old data is, p99",
        [
            (
                (
                    "histogram_quantile(0.99, sum by (le) "
                    f"(rate(alphapulse_exchange_age_seconds_bucket{VENUE}[$__rate_interval])))"
                ),
                "venue to collector",
            ),
            (
                (
                    "histogram_quantile(0.99, sum by (le) "
                    '(rate(alphapulse_processing_age_seconds_bucket{topic="md.l2"}[$__rate_interval])))'
                ),
                "collector to processors",
            ),
            (
                (
                    "histogram_quantile(0.99, sum by (le) "
                    "(rate(alphapulse_delivery_age_seconds_bucket[$__rate_interval])))"
                ),
                "collector to client",
            ),
            (
                (
                    "histogram_quantile(0.99, sum by (le) "
                    '(rate(alphapulse_sink_age_seconds_bucket{service="sink-clickhouse"}[$__rate_interval])))'
                ),
                "collector to table",
            ),
        ],
        "s",
        "The first compares the venue's clock with ours; the others count from the receipt by the collector.",
        "clock-skew",
    ),
    Panel(
        "Lag by group",
        [("max by (group) (alphapulse_group_lag_seconds)", "{{group}}")],
        "s",
        "How long the oldest uncommitted record has been on the broker, at least. Parquet commits once a minute.",
        "consumer-lag",
    ),
    Panel(
        "Refused and lost",
        [
            ("sum by (service) (increase(alphapulse_dead_letters_total[5m]))", "{{service}} refused"),
            ("sum by (service) (increase(alphapulse_records_lost_total[5m]))", "{{service}} lost"),
        ],
        "none",
        "Messages in five minutes that were put on dlq, and records the broker dropped unread. Both should be none.",
        "dead-letters",
    ),
    Panel(
        "Alerts that fire",
        [('ALERTS{alertstate="firing"}', "")],
        "none",
        "What each means and what to do stands in docs/runbooks; an alert's runbook_url names its page.",
        kind="table",
        width=16,
    ),
    Panel(
        "What runs",
        [("count by (service, version, python) (alphapulse_build_info)", "")],
        "none",
        "Services with their version and that of Python, and how many of each there are.",
        kind="table",
    ),
]

VENUES: Final = [
    Panel(
        "Frames",
        [
            (f"sum by (venue) (rate(alphapulse_frames_total{VENUE}[$__rate_interval]))", "{{venue}}"),
            (f"sum by (venue) (rate(alphapulse_frames_ignored_total{VENUE}[$__rate_interval]))", "{{venue}} ignored"),
        ],
        "cps",
        "Messages of the venue; ignored: of no channel that is needed.",
        "venue-silent",
    ),
    Panel(
        "Records",
        [(f"sum by (venue, topic) (rate(alphapulse_records_total{VENUE}[$__rate_interval]))", "{{venue}} {{topic}}")],
        "cps",
        "Records acknowledged by the broker.",
    ),
    Panel(
        "Connected",
        [(f"min by (venue) (alphapulse_connected{VENUE})", "{{venue}}")],
        "bool",
        "Whether at least one connection is open.",
        "venue-silent",
        defaults={"max": 1},
    ),
    Panel(
        "Losses",
        [(f"sum by (venue, kind) (increase(alphapulse_gaps_total{VENUE}[5m])) > 0", "{{venue}} {{kind}}")],
        "none",
        "In five minutes, by kind; docs/integrity.md says what each venue's feed can show.",
        "feed-gaps",
    ),
    Panel(
        "Checksum failures",
        [('sum by (venue) (increase(alphapulse_gaps_total{kind="checksum", venue=~"$venue"}[5m]))', "{{venue}}")],
        "none",
        "Books that did not agree with the venue's checksum, in five minutes.",
        "checksum-failures",
    ),
    Panel(
        "New epochs and connections",
        [
            (f"sum by (venue) (increase(alphapulse_resyncs_total{VENUE}[5m]))", "{{venue}} epochs"),
            (f"sum by (venue) (increase(alphapulse_connections_total{VENUE}[5m]))", "{{venue}} connections"),
        ],
        "none",
        "Books that began anew after a doubt, and connections opened, in five minutes.",
        "feed-gaps",
    ),
    Panel(
        "Venue to collector",
        quantiles("alphapulse_exchange_age_seconds", "venue", "{{venue}}", VENUE),
        "s",
        "From the venue's own time of a book frame to its receipt; both clocks are in it.",
        "clock-skew",
    ),
    Panel(
        "Age of the newest frame",
        [(f"max by (venue) (alphapulse_exchange_age_last_seconds{VENUE})", "{{venue}}")],
        "s",
        "The same of the newest frame. Negative: the venue's clock is ahead of ours.",
        "clock-skew",
        defaults={"min": None},
    ),
    Panel(
        "Frame to acknowledgement",
        quantiles("alphapulse_publish_seconds", "venue", "{{venue}}", VENUE),
        "s",
        "From the frame's receipt to the broker's acknowledgement of all that it led to.",
        "broker-slow",
    ),
    Panel(
        "In flight",
        [(f"sum by (venue) (alphapulse_in_flight_records{VENUE})", "{{venue}}")],
        "short",
        "Records not acknowledged yet. At publisher.max_in_flight (20,000) the venue is read no further.",
        "broker-slow",
    ),
    Panel(
        "In flight, bytes",
        [(f"sum by (venue) (alphapulse_in_flight_bytes{VENUE})", "{{venue}}")],
        "bytes",
        "Their size in memory. At publisher.max_in_flight_bytes (64 MiB) the venue is read no further.",
        "broker-slow",
    ),
    Panel(
        "Limits left",
        [(f"min by (venue, limit) (alphapulse_request_budget_ratio{VENUE})", "{{venue}} {{limit}}")],
        "percentunit",
        "Share of the venue's limits that could be spent at once. At none, snapshots or connections wait.",
        "request-budget",
        defaults={"max": 1},
    ),
    Panel(
        "Books as clients see them",
        [(f"sum by (venue, status) (alphapulse_gateway_books{VENUE})", "{{venue}} {{status}}")],
        "short",
        "Good, stale and invalid books, as the gateway tells them.",
        "no-valid-books",
    ),
    Panel(
        "Simulated venues' slow clients",
        [(f"sum by (venue) (increase(alphapulse_simulator_slow_clients_total{VENUE}[5m]))", "{{venue}}")],
        "none",
        "Clients that a simulated venue cut off, in five minutes: a collector that does not keep up.",
    ),
    *process("collector-.+|simulator"),
]

PROCESSORS: Final = [
    Panel(
        "Records applied",
        [("sum by (topic) (rate(alphapulse_processed_records_total[$__rate_interval]))", "{{topic}}")],
        "cps",
        "By input topic, over all workers.",
    ),
    Panel(
        "Collector to processors",
        quantiles("alphapulse_processing_age_seconds", "topic", "{{topic}}"),
        "s",
        "From a record's receipt to its application. After a restart, what is read again counts with its age of then.",
        "consumer-lag",
    ),
    Panel(
        "Lag",
        [('sum by (topic) (alphapulse_lag_records{service="processors"})', "{{topic}}")],
        "short",
        "Records that the workers know of and have not applied.",
        "consumer-lag",
    ),
    Panel(
        "Books",
        [("sum by (valid) (alphapulse_books)", "valid: {{valid}}")],
        "short",
        "Books held by all workers.",
        "no-valid-books",
    ),
    Panel(
        "Records missing in books",
        [(f"sum by (venue) (increase(alphapulse_book_gaps_total{VENUE}[5m]))", "{{venue}}")],
        "none",
        "Jumps within an epoch on md.l2, in five minutes: never, while the broker keeps what it acknowledges.",
        "records-lost",
    ),
    Panel(
        "Open opportunities",
        [("sum(alphapulse_open_opportunities)", "open")],
        "short",
        "Arbitrage opportunities after fees that are open now.",
    ),
    Panel(
        "Age of checkpoints",
        [('max by (instance) (alphapulse_checkpoint_age_seconds{service="processors"})', "{{instance}}")],
        "s",
        "Of the oldest that is behind its partition; one is written every five seconds. A restart reads back as much.",
        "checkpoint-old",
    ),
    Panel(
        "Checkpoints written",
        [("sum(rate(alphapulse_checkpoint_bytes_total[$__rate_interval]))", "bytes")],
        "Bps",
        "Before compression.",
    ),
    Panel(
        "Checkpoints",
        [("sum(rate(alphapulse_checkpoints_total[$__rate_interval]))", "checkpoints")],
        "cps",
        "Of one partition each.",
    ),
    Panel(
        "Late and doubted trades",
        [
            ('sum(alphapulse_late_trades{service="processors"})', "late"),
            ('sum(alphapulse_doubted_trades{service="processors"})', "doubted"),
        ],
        "short",
        "Trades too late for their candle, and trades whose venue's time is not credible; since the "
        "instruments' state began.",
    ),
    *process("processors"),
]

SINKS: Final = [
    Panel(
        "Rows stored",
        [("sum by (service, topic) (rate(alphapulse_sink_rows_total[$__rate_interval]))", "{{service}} {{topic}}")],
        "cps",
        "Rows of committed batches.",
        "sink-stalled",
    ),
    Panel(
        "Lag",
        [('sum by (service, topic) (alphapulse_lag_records{service=~"sink-.+"}) > 0', "{{service}} {{topic}}")],
        "short",
        "Records that are on the broker and not committed. Parquet's rises for a minute and falls to none.",
        "consumer-lag",
    ),
    Panel(
        "Lag in seconds",
        [('max by (group) (alphapulse_group_lag_seconds{group=~".*sink.*"})', "{{group}}")],
        "s",
        "As the gateway reads it from the broker, also while a sink is down.",
        "consumer-lag",
    ),
    Panel(
        "Oldest unwritten record",
        [('max by (service) (alphapulse_sink_unwritten_age_seconds{service=~"sink-.+"})', "{{service}}")],
        "s",
        "How long ago it was fetched: ClickHouse a second or two, Parquet a minute.",
        "sink-stalled",
    ),
    Panel(
        "Time of a write",
        quantiles("alphapulse_sink_write_seconds", "service", "{{service}}", '{service=~"sink-.+"}'),
        "s",
        "What the target took to store one batch.",
        "sink-stalled",
    ),
    Panel(
        "Records of a batch",
        quantiles("alphapulse_sink_batch_records", "service", "{{service}}", '{service=~"sink-.+"}'),
        "short",
        "Estimated from buckets of powers of ten.",
    ),
    Panel(
        "Collector to table",
        quantiles("alphapulse_sink_age_seconds", "service", "{{service}}", '{service=~"sink-.+"}'),
        "s",
        "From the receipt of the oldest record of each topic and batch to the commit of its row.",
        "consumer-lag",
    ),
    Panel(
        "Batches",
        [('sum by (service) (rate(alphapulse_sink_batch_records_count{service=~"sink-.+"}[5m]))', "{{service}}")],
        "cps",
        "Batches stored and committed, over five minutes.",
        "sink-stalled",
    ),
    Panel(
        "Refused and lost",
        [
            (
                'sum by (service, error) (increase(alphapulse_dead_letters_total{service=~"sink-.+"}[5m]))',
                "{{service}} {{error}}",
            ),
            (
                'sum by (service, topic) (increase(alphapulse_records_lost_total{service=~"sink-.+"}[5m]))',
                "{{service}} lost of {{topic}}",
            ),
        ],
        "none",
        "In five minutes.",
        "records-lost",
    ),
    *process("sink-.+"),
]

GATEWAY: Final = [
    Panel("Clients", [("sum(alphapulse_gateway_connections)", "connections")], "short", "WebSocket connections."),
    Panel(
        "Subscriptions",
        [("sum by (channel) (alphapulse_gateway_subscriptions)", "{{channel}}")],
        "short",
        "Of all clients.",
    ),
    Panel(
        "Collector to client",
        quantiles("alphapulse_delivery_age_seconds"),
        "s",
        "From a record's receipt by its collector to its writing to clients: the oldest of each flush. The "
        "network to the client is not in it.",
    ),
    Panel(
        "Messages and frames",
        [
            ("sum(rate(alphapulse_gateway_deliveries_total[$__rate_interval]))", "messages"),
            ("sum(rate(alphapulse_gateway_writes_total[$__rate_interval]))", "WebSocket frames"),
        ],
        "cps",
        "Written; a frame joins the messages of one turn of the event loop.",
    ),
    Panel(
        "Bytes written",
        [("sum(rate(alphapulse_gateway_written_bytes_total[$__rate_interval]))", "bytes")],
        "Bps",
        "To all clients.",
    ),
    Panel(
        "Slow clients",
        [("sum(increase(alphapulse_gateway_conflations_total[5m]))", "feeds conflated")],
        "none",
        "Feeds whose queued messages were dropped for a later snapshot, in five minutes.",
        "gateway-drops-clients",
    ),
    Panel(
        "Connections closed",
        [("sum by (code) (increase(alphapulse_gateway_disconnects_total[5m])) > 0", "{{code}}")],
        "none",
        "By the gateway, in five minutes. 3000, 3003 access (docs/access.md), 3008 too slow, 3012 no pong, 3013 all in "
        "use, 3500 misuse, 1012 restart.",
        "gateway-drops-clients",
    ),
    Panel(
        "Client messages refused",
        [("sum by (code) (increase(alphapulse_gateway_refused_messages_total[5m]))", "{{code}}")],
        "none",
        "Answered with an error, in five minutes; docs/stream.md lists the codes.",
    ),
    Panel(
        "Access",
        [
            ("sum by (action) (increase(alphapulse_gateway_access_total[5m])) > 0", "{{action}}"),
            ("sum(increase(alphapulse_gateway_audit_dropped_total[5m])) > 0", "not on ops.events"),
        ],
        "none",
        "Entries of the audit log in five minutes, repetitions included (docs/access.md). Many refused: someone tries "
        "keys, or a token has run out.",
    ),
    Panel(
        "Records read",
        [
            (
                "sum by (topic, outcome) (rate(alphapulse_gateway_records_total[$__rate_interval])) > 0",
                "{{topic}} {{outcome}}",
            )
        ],
        "cps",
        "From the broker. seen: a repetition; refused: kept on dlq.",
        "dead-letters",
    ),
    Panel(
        "Lag",
        [('sum by (topic) (alphapulse_lag_records{group="gateway"})', "{{topic}}")],
        "short",
        "Records on the broker that this gateway has not read.",
        "consumer-lag",
    ),
    Panel(
        "Failures of whole books",
        [("sum(increase(alphapulse_gateway_book_reading_failures_total[5m]))", "failures")],
        "none",
        "In five minutes. Reading md.l2 failed (the log says why) and begins anew after a pause; until then the books "
        "of the channel l2 are invalid.",
    ),
    Panel(
        "Books",
        [(f"sum by (venue, status) (alphapulse_gateway_books{VENUE})", "{{venue}} {{status}}")],
        "short",
        "As clients are told they are.",
        "no-valid-books",
    ),
    *process("gateway"),
]

BROKER: Final = [
    stat(
        "Nodes",
        "max(redpanda_cluster_brokers)",
        "none",
        "Brokers of the cluster: 1, or 3 with --profile cluster.",
        (1, 0.5),
    ),
    stat(
        "Partitions unavailable",
        "max(redpanda_cluster_unavailable_partitions)",
        "none",
        "Partitions without a leader: nobody can write to them.",
        (1, 2),
        runbook="broker-slow",
    ),
    stat(
        "Replicas behind",
        "sum(redpanda_kafka_under_replicated_replicas)",
        "none",
        "Replicas that have not caught up with their leader.",
        (1, 2),
        runbook="broker-slow",
    ),
    stat(
        "Free disk",
        "min(redpanda_storage_disk_free_bytes / redpanda_storage_disk_total_bytes)",
        "percentunit",
        "At a twentieth Redpanda refuses to write.",
        (0.2, 0.1),
        runbook="broker-slow",
    ),
    Panel(
        "Frame to acknowledgement",
        quantiles("alphapulse_publish_seconds"),
        "s",
        "As the collectors see it: from a frame's receipt to the acknowledgement of what it led to.",
        "broker-slow",
        width=12,
    ),
    Panel(
        "Latency of requests, p99",
        [
            (
                (
                    "histogram_quantile(0.99, sum by (le, redpanda_request) "
                    "(rate(redpanda_kafka_request_latency_seconds_bucket[$__rate_interval])))"
                ),
                "{{redpanda_request}}",
            )
        ],
        "s",
        "As the broker sees it. A fetch waits for data, up to half a second for a sink.",
        "broker-slow",
        width=12,
    ),
    Panel(
        "Bytes",
        [
            (
                "sum by (redpanda_request) (rate(redpanda_kafka_request_bytes_total[$__rate_interval]))",
                "{{redpanda_request}}",
            )
        ],
        "Bps",
        "Produced and consumed, all topics.",
    ),
    Panel(
        "Bytes produced by topic",
        [
            (
                (
                    "sum by (redpanda_topic) "
                    '(rate(redpanda_kafka_request_bytes_total{redpanda_request="produce"}[$__rate_interval]))'
                ),
                "{{redpanda_topic}}",
            )
        ],
        "Bps",
        "Of all partitions.",
    ),
    Panel(
        "Lag by group",
        [
            ("sum by (group) (max by (group, topic) (alphapulse_group_lag_records))", "{{group}}"),
            ("sum by (redpanda_group) (redpanda_kafka_consumer_group_lag_sum)", "{{redpanda_group}} (Redpanda)"),
        ],
        "short",
        "Records not committed: as the gateway reads it every ten seconds at least, and as Redpanda itself tells it.",
        "consumer-lag",
    ),
    Panel(
        "Processor time",
        [("rate(redpanda_cpu_busy_seconds_total[$__rate_interval])", "{{instance}} core {{redpanda_cpu_core_id}}")],
        "percentunit",
        "Share of each core that Redpanda has.",
        "broker-slow",
    ),
    Panel(
        "Memory available",
        [("min by (instance) (redpanda_memory_available_memory)", "{{instance}}")],
        "bytes",
        "What Redpanda could still use, its caches counted as free.",
        "broker-slow",
    ),
    Panel(
        "Records in flight",
        [("sum by (venue) (alphapulse_in_flight_records)", "{{venue}}")],
        "short",
        "Collectors' records that are not acknowledged.",
        "broker-slow",
    ),
    Panel(
        "Records lost",
        [("sum by (service, topic) (increase(alphapulse_records_lost_total[5m]))", "{{service}} {{topic}}")],
        "none",
        "Dropped before they were read, in five minutes.",
        "records-lost",
    ),
]

DASHBOARDS: Final = {
    "overview": ("Overview: is the market data good right now?", OVERVIEW),
    "venue": ("Venue", VENUES),
    "processors": ("Stream processors", PROCESSORS),
    "sinks": ("Sinks", SINKS),
    "gateway": ("Gateway", GATEWAY),
    "broker": ("Broker", BROKER),
}


def placed(panels: Iterable[Panel]) -> list[dict[str, Any]]:
    """Return the panels in rows from left to right."""
    made: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH or (height and panel.height != height):
            x, y, height = 0, y + height, 0
        made.append(panel.json(number, x, y))
        x, height = x + panel.width, panel.height
    return made


def variables() -> list[dict[str, Any]]:
    """Return the variables of every dashboard."""
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        {
            "name": "venue",
            "label": "Venue",
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": "label_values(alphapulse_frames_total, venue)", "refId": "venue"},
            "definition": "label_values(alphapulse_frames_total, venue)",
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        },
        {
            "name": "runbooks",
            "label": "Runbooks at",
            "description": "The address under which docs/runbooks can be read",
            "type": "textbox",
            "query": "docs/runbooks",
            "current": {"text": "docs/runbooks", "value": "docs/runbooks"},
        },
    ]


def dashboard(name: str) -> dict[str, Any]:
    """Return one dashboard."""
    title, panels = DASHBOARDS[name]
    others = {
        "type": "dashboards",
        "tags": ["alphapulse"],
        "title": "AlphaPulse",
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }
    return {
        "uid": f"alphapulse-{name}",
        "title": f"AlphaPulse: {title}",
        "tags": ["alphapulse"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "links": [others],
        "templating": {"list": variables()},
        "annotations": {"list": []},
        "panels": placed(panels),
    }


def text(name: str) -> str:
    """Return the file of a dashboard."""
    return json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write all files; return the exit code."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
