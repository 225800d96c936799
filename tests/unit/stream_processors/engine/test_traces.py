from __future__ import annotations

from dataclasses import dataclass, replace

from aiokafka.errors import MessageSizeTooLargeError

from alphapulse import topics
from alphapulse.tracing import HEADER, Headers, TraceContext, Tracer
from schemas.records import Depth, Event, L2Update, Record
from stream_processors.engine.traces import ProcessSpan, RecordTraces
from tests.fixtures.otlp import Collected

PARENT = TraceContext(7, 9)


@dataclass
class Consumed:
    offset: int
    headers: Headers
    topic: str = topics.L2
    partition: int = 3


def update(sequence: int, epoch: int = 1, symbol: str = "BTC-USD") -> L2Update:
    return L2Update(
        venue="kraken",
        symbol=symbol,
        kind="DELTA",
        epoch=epoch,
        sequence=sequence,
        exchange_time=0,
        received_time=1,
        price_exponent=-8,
        size_exponent=-8,
        bid_prices=[],
        bid_sizes=[],
        ask_prices=[],
        ask_sizes=[],
    )


def depth(sequence: int, epoch: int = 1, symbol: str = "BTC-USD") -> Depth:
    return Depth(
        venue="kraken",
        symbol=symbol,
        valid=True,
        epoch=epoch,
        sequence=sequence,
        exchange_time=0,
        received_time=1,
        price_exponent=-8,
        size_exponent=-8,
        bid_prices=[],
        bid_sizes=[],
        ask_prices=[],
        ask_sizes=[],
    )


class Run:
    """A worker's traces."""

    def __init__(self) -> None:
        self.export = Collected()
        self.traces = RecordTraces(Tracer(self.export, 1.0), "group")
        self.offset = 0

    def apply(self, record: L2Update | Depth, *made: Record) -> ProcessSpan:
        """Read a traced record, which makes these results."""
        topic = topics.L2 if isinstance(record, L2Update) else topics.DEPTH
        traced = self.traces.begin(topic, [Consumed(self.offset, PARENT.headers, topic)])
        assert traced is not None
        span = traced[self.offset]
        self.traces.applied(span, record, made)
        self.offset += 1
        return span

    def ended(self, span: ProcessSpan) -> bool:
        return span.span in self.export.spans


def test_only_records_with_a_sound_header_are_traced() -> None:
    run = Run()
    junk = [Consumed(n, headers) for n, headers in enumerate([(), [(HEADER, b"\xff")], [("other", b"")]])]
    assert run.traces.begin(topics.L2, junk) is None
    traced = run.traces.begin(topics.L2, [*junk, Consumed(17, PARENT.headers)])
    assert traced is not None
    assert list(traced) == [17]
    span = traced[17].span
    assert (span.name, span.parent, span.context.trace_id) == ("process", PARENT, 7)
    assert span.attributes["messaging.kafka.offset"] == 17
    assert span.attributes["messaging.consumer.group.name"] == "group"


def test_a_depth_carries_the_newest_update_in_it() -> None:
    run = Run()
    first, second, third = run.apply(update(1)), run.apply(update(2)), run.apply(update(3))
    assert run.traces.of(depth(2)) is second
    assert run.ended(first)
    assert first.span.attributes["alphapulse.conflated"] is True
    assert not run.ended(second)
    second.placed(None, 0, 0, 0.001)
    assert run.ended(second)
    assert run.traces.waiting
    assert run.traces.of(depth(4)) is third
    assert not run.traces.waiting


def test_a_depth_of_before_the_update_or_of_another_book_carries_nothing() -> None:
    run = Run()
    span = run.apply(update(5, epoch=2))
    assert run.traces.of(depth(9, epoch=1)) is None
    assert run.traces.of(depth(4, epoch=2)) is None
    assert run.traces.of(depth(5, epoch=2, symbol="ETH-USD")) is None
    assert run.traces.of(depth(1, epoch=3)) is span


def test_an_update_that_no_depth_will_show_ends_without_a_result() -> None:
    run = Run()
    waits, beyond = run.apply(update(1)), run.apply(update(1, symbol="ETH-USD"))
    run.traces.settle(lambda venue, symbol: (venue, symbol) == ("kraken", "BTC-USD"))
    assert run.ended(beyond)
    assert not run.ended(waits)
    assert "alphapulse.conflated" not in beyond.span.attributes


def test_what_a_record_causes_at_once_carries_it_and_the_last_acknowledgement_ends_it() -> None:
    run = Run()
    made = [Event(time=1, service="processors", kind="gap", severity="WARNING", message=str(n)) for n in range(2)]
    span = run.apply(depth(1), *made)
    other = replace(made[0])
    assert [run.traces.of(one) for one in (*made, other)] == [span, span, None]
    span.placed(None, 0, 0, 0.0)
    assert not run.ended(span)
    span.placed(None, 0, 1, 0.0)
    assert run.ended(span)


def test_a_record_without_results_ends_at_once() -> None:
    run = Run()
    assert run.ended(run.apply(depth(1)))


def test_a_result_that_the_broker_refuses_fails_the_span() -> None:
    run = Run()
    span = run.apply(update(1))
    assert run.traces.of(depth(1)) is span
    span.placed(MessageSizeTooLargeError("too large"), 0, -1, 0.0)
    assert [error for _, _, error in run.export.ended] == ["MessageSizeTooLargeError('too large')"]
