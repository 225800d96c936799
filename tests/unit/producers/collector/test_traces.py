from __future__ import annotations

import time

from aiokafka.errors import MessageSizeTooLargeError

from alphapulse import topics
from alphapulse.config import PublisherSettings
from alphapulse.tracing import Tracer
from producers.collector.publisher import Publisher
from producers.collector.traces import FrameSampler
from schemas.codec import Codec
from schemas.records import Event, L2Update, Trade
from tests.fixtures.held_producer import HeldProducer
from tests.fixtures.otlp import Collected

RECEIVED = 1_700_000_000_000_000_000


def trade(number: int, received_time: int = RECEIVED) -> Trade:
    return Trade(
        venue="kraken",
        symbol="BTC-USD",
        trade_id=str(number),
        side="BUY",
        price=1,
        size=2,
        price_exponent=-8,
        size_exponent=-8,
        exchange_time=0,
        received_time=received_time,
    )


def update(kind: str) -> L2Update:
    return L2Update(
        venue="kraken",
        symbol="BTC-USD",
        kind=kind,  # type: ignore[arg-type]
        epoch=1,
        sequence=1,
        exchange_time=0,
        received_time=RECEIVED,
        price_exponent=-8,
        size_exponent=-8,
        bid_prices=[],
        bid_sizes=[],
        ask_prices=[],
        ask_sizes=[],
    )


def publishing(tracer: Tracer | None) -> tuple[HeldProducer, Publisher]:
    producer = HeldProducer(prompt=True)
    return producer, Publisher(producer, Codec(), PublisherSettings(), "kraken", tracer)


async def test_a_record_of_a_sampled_frame_carries_its_span_to_the_acknowledgement() -> None:
    export = Collected()
    producer, publisher = publishing(Tracer(export, 1.0))
    before = time.time_ns()
    publisher.publish(trade(1))
    (sent,) = producer.sent
    assert not export.ended
    await publisher.flush()
    ((span, end, error),) = export.ended
    assert sent.headers == span.context.headers
    assert (span.name, span.parent, span.start, error) == ("collect", None, RECEIVED, "")
    assert end - before >= 1_000_000, "the client's milliseconds to the acknowledgement"
    assert span.attributes == {
        "messaging.system": "kafka",
        "messaging.destination.name": topics.TRADES,
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 17,
        "alphapulse.venue": "kraken",
        "alphapulse.symbol": "BTC-USD",
    }


async def test_a_record_that_the_broker_refuses_ends_its_span_as_failed() -> None:
    export = Collected()
    producer, publisher = publishing(Tracer(export, 1.0))
    publisher.publish(trade(1))
    producer.sent[0].settle(MessageSizeTooLargeError("too large"))
    ((span, _, error),) = export.ended
    assert "MessageSizeTooLargeError" in error
    assert "messaging.kafka.offset" not in span.attributes


async def test_without_tracing_or_sampling_nothing_is_carried() -> None:
    for tracer in (None, Tracer(Collected(), 0.0)):
        producer, publisher = publishing(tracer)
        publisher.publish(trade(1))
        await publisher.flush()
        assert [(sent.headers, sent.placed) for sent in producer.sent] == [(None, None)]


class Alternating(Tracer):
    """Samples every other frame."""

    def __init__(self) -> None:
        super().__init__(Collected(), 0.5)
        self.asked = 0

    def sampled(self) -> bool:
        self.asked += 1
        return self.asked % 2 == 1


def test_the_records_of_a_frame_are_sampled_together_each_with_a_trace_of_its_own() -> None:
    tracer = Alternating()
    sampler = FrameSampler(tracer)
    spans = [sampler.begin(topics.TRADES, trade(n, RECEIVED + n // 3)) for n in range(9)]
    assert [span is not None for span in spans] == [True] * 3 + [False] * 3 + [True] * 3
    assert tracer.asked == 3
    assert len({span.sending()[0][1][:35] for span in spans if span is not None}) == 6


def test_what_is_not_made_from_a_frame_is_not_traced() -> None:
    sampler = FrameSampler(Tracer(Collected(), 1.0))
    event = Event(time=1, service="collector-kraken", kind="started", severity="INFO", message="")
    assert sampler.begin(topics.EVENTS, event) is None
    assert sampler.begin(topics.L2, update("HEARTBEAT")) is None
    assert sampler.begin(topics.L2, update("DELTA")) is not None
