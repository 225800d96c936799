from __future__ import annotations

from dataclasses import replace

from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.tracing import HEADER, TraceContext, Tracer, TraceSpan
from sinks.traces import BATCH_SPANS, WriteTraces, stored
from tests.fixtures.log import message
from tests.fixtures.otlp import Collected

TRADES = TopicPartition(topics.TRADES, 3)
PARENT = TraceContext(7, 9)


def test_a_traced_message_gets_a_span_that_ends_with_its_batch() -> None:
    export = Collected()
    spans: list[TraceSpan] = []
    WriteTraces(Tracer(export, 0.0), "group").read(
        [
            message(TRADES, 4, b""),
            message(TRADES, 5, b"", PARENT.headers),
            message(TRADES, 6, b"", [(HEADER, b"junk")]),
        ],
        spans,
    )
    assert len(spans) == 1
    assert not export.ended
    end = spans[0].start + 1_000
    stored(spans, 3, end)
    assert export.ended == [(spans[0], end, "")]
    assert spans[0].parent == PARENT
    assert spans[0].attributes == {
        "messaging.system": "kafka",
        "messaging.destination.name": topics.TRADES,
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 5,
        "messaging.consumer.group.name": "group",
        "alphapulse.symbol": "key",
        "alphapulse.batch.records": 3,
    }


def test_the_key_tells_venue_and_symbol() -> None:
    spans: list[TraceSpan] = []
    traced = message(TRADES, 5, b"", PARENT.headers)
    for key in (b"kraken|BTC-USD", b"BTC-USD", b"\xff", None):
        WriteTraces(Tracer(Collected(), 0.0), None).read([replace(traced, key=key)], spans)
    told = [(span.attributes.get("alphapulse.venue"), span.attributes["alphapulse.symbol"]) for span in spans]
    assert told == [("kraken", "BTC-USD"), (None, "BTC-USD"), (None, "\ufffd"), (None, "")]


def test_a_batch_has_so_many_spans_at_most() -> None:
    spans: list[TraceSpan] = []
    traces = WriteTraces(Tracer(Collected(), 0.0), "group")
    for start in range(0, 3_000, 500):
        traces.read([message(TRADES, start + n, b"", PARENT.headers) for n in range(500)], spans)
    assert len(spans) == BATCH_SPANS
