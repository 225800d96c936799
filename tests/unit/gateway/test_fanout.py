from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from alphapulse import metrics
from alphapulse.errors import UnknownInstrument
from alphapulse.tracing import TraceContext, Tracer
from gateway import close_codes
from gateway.close_codes import MISUSE, RESTART, SLOW
from gateway.delivery import MAX_REFUSED, MAX_SUBSCRIPTIONS
from gateway.fanout import HEARTBEAT_SECONDS, Hub
from gateway.protocol import Subscription
from gateway.session import Session
from gateway.state import MarketState
from gateway.traces import DeliveryTraces
from schemas.records import DeadLetter
from tests.fixtures import market
from tests.fixtures.market import MAX_BOOK_AGE, SECOND, START
from tests.fixtures.otlp import Collected
from tests.fixtures.stream import ClientBook, ClogableWire, ManualScheduler, messages_of, text_of

BOOK = '{"op":"subscribe","id":1,"channel":"book","venue":"kraken","symbol":"BTC-USD"}'
TRADES = '{"op":"subscribe","id":2,"channel":"trades","venue":"kraken","symbol":"BTC-USD"}'
LEAVE_BOOK = BOOK.replace("subscribe", "unsubscribe")


class Bench:
    """A hub with a clock and ticks by hand."""

    def __init__(self, queue_bytes: int = 100_000, stall_seconds: float = 10) -> None:
        self.tick = ManualScheduler()
        self.state = MarketState({"kraken": ("BTC-USD",)}, max_book_age=MAX_BOOK_AGE)
        self.hub = Hub(
            self.state,
            queue_bytes=queue_bytes,
            stall_seconds=stall_seconds,
            schedule=self.tick,
            clock=self.tick.clock,
        )

    def client(self, *says: str) -> tuple[ClogableWire, Session]:
        wire = ClogableWire()
        session = self.hub.open(wire)
        for text in says:
            session.receive(text)
        self.tick.run()
        return wire, session

    def depth(self, sequence: int, **changes: Any) -> None:
        self.hub.apply(market.depth(bids=[(100, sequence)], sequence=sequence, **changes), self.tick.clock())


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def test_a_client_is_greeted_and_answered() -> None:
    bench = Bench()
    wire, session = bench.client(BOOK, '{"op":"ping","id":3}', "{", '{"op":"ping","id":4}')
    assert len(wire.frames) == 1, "all answers of a tick share one frame"
    messages = wire.read()
    assert kinds(messages) == ["hello", "subscribed", "snapshot", "pong", "error", "pong"]
    assert messages[0]["heartbeat_ms"] == HEARTBEAT_SECONDS * 1000
    assert messages[1]["id"] == 1
    assert session.subscriptions == 1


def test_records_reach_those_who_subscribed() -> None:
    bench = Bench()
    both, _ = bench.client(BOOK, TRADES)
    book, _ = bench.client(BOOK)
    both.read(), book.read()
    bench.depth(1)
    bench.hub.apply(market.trade(), START)
    bench.hub.apply(market.statistics(), START)
    bench.tick.run()
    assert kinds(both.read()) == ["snapshot", "trades"]
    assert kinds(book.read()) == ["snapshot"]


def test_every_channel_can_be_had() -> None:
    bench = Bench()
    wire, _ = bench.client(
        '{"op":"subscribe","channel":"stats","venue":"kraken","symbol":"BTC-USD"}',
        '{"op":"subscribe","channel":"candles","venue":"kraken","symbol":"BTC-USD"}',
        '{"op":"subscribe","channel":"arbitrage","symbol":"BTC-USD"}',
        '{"op":"subscribe","channel":"arbitrage","symbol":"*"}',
    )
    assert kinds(wire.read()) == ["hello", *["subscribed"] * 3, "snapshot", "subscribed", "snapshot"]
    bench.depth(1)
    bench.depth(1, venue="coinbase")
    for record in (market.statistics(), market.candle(), market.opportunity()):
        bench.hub.apply(record, START)
    bench.tick.run()
    assert kinds(wire.read()) == ["stats", "candle", "opportunity", "opportunity"]


def test_repeated_and_useless_records_reach_nobody() -> None:
    bench = Bench()
    wire, _ = bench.client(BOOK)
    bench.depth(2)
    bench.tick.run()
    wire.read()
    assert not bench.hub.apply(market.depth(sequence=1), START)
    assert not bench.hub.apply(DeadLetter(time=0, service="", source="", value=b"", error="", reason=""), START)
    assert bench.hub.apply(market.event(), START), "events are kept, not streamed"
    bench.tick.run()
    assert wire.read() == []


def test_all_messages_of_a_tick_are_one_frame_shared_by_like_clients() -> None:
    bench = Bench()
    wires = [bench.client(BOOK, TRADES)[0] for _ in range(3)]
    for wire in wires:
        wire.read()
    for sequence in range(1, 9):
        bench.depth(sequence)
    bench.hub.apply(market.trade(), START)
    bench.tick.run()
    assert [len(wire.frames) for wire in wires] == [1, 1, 1]
    assert wires[0].frames[0] is wires[1].frames[0] is wires[2].frames[0]
    assert len(wires[0].read()) == 9


def test_unknown_instruments_are_refused_with_the_id() -> None:
    wire, session = Bench().client(BOOK.replace("kraken", "krakn"), TRADES.replace("BTC", "XRP"))
    errors = [message for message in wire.read() if message["type"] == "error"]
    assert [(error["id"], error["code"]) for error in errors] == [(1, "unknown_instrument"), (2, "unknown_instrument")]
    assert "krakn" in errors[0]["message"]
    assert "BTC-USD" in errors[1]["message"]
    assert session.subscriptions == 0
    with pytest.raises(UnknownInstrument):
        Bench().hub.feed(Subscription("arbitrage", None, "XRP-USD"))


def test_subscribing_again_gives_a_fresh_snapshot_and_no_second_delivery() -> None:
    bench = Bench()
    wire, session = bench.client(BOOK, BOOK)
    assert kinds(wire.read()) == ["hello", "subscribed", "snapshot", "subscribed", "snapshot"]
    assert session.subscriptions == 1
    bench.depth(1)
    bench.tick.run()
    assert len(wire.read()) == 1


def test_unsubscribing_ends_deliveries_and_twice_is_no_error() -> None:
    bench = Bench()
    wire, session = bench.client(BOOK, LEAVE_BOOK, LEAVE_BOOK)
    assert kinds(wire.read()) == ["hello", "subscribed", "snapshot", "unsubscribed", "unsubscribed"]
    bench.depth(1)
    bench.tick.run()
    assert wire.read() == []
    assert session.subscriptions == 0


def test_subscriptions_are_bounded() -> None:
    bench = Bench(queue_bytes=10_000_000)
    bench.state = state = MarketState(
        {"kraken": [f"A{n}-USD" for n in range(MAX_SUBSCRIPTIONS + 1)]}, max_book_age=MAX_BOOK_AGE
    )
    bench.hub = Hub(state, queue_bytes=10_000_000, schedule=bench.tick, clock=bench.tick.clock)
    wire, session = bench.client(*(BOOK.replace("BTC", f"A{n}") for n in range(MAX_SUBSCRIPTIONS + 1)))
    assert session.subscriptions == MAX_SUBSCRIPTIONS
    last = wire.read()[-1]
    assert (last["type"], last["code"], last["id"]) == ("error", "too_many_subscriptions", 1)


def test_a_client_that_never_listens_to_reason_is_closed() -> None:
    bench = Bench()
    wire, session = bench.client(*["nonsense"] * (MAX_REFUSED - 1))
    session.receive('{"op":"ping"}')
    for _ in range(MAX_REFUSED - 1):
        session.receive("nonsense")
    assert wire.closed_with is None, "a good message in between counts"
    session.receive("nonsense")
    assert wire.closed_with is MISUSE


def test_a_slow_client_is_conflated_and_then_in_step_again() -> None:
    bench = Bench(queue_bytes=4000)
    slow, _ = bench.client(BOOK, TRADES)
    fast, _ = bench.client(BOOK)
    books = {slow: ClientBook(), fast: ClientBook()}
    slow.clogged = True
    for sequence in range(1, 200):
        bench.depth(sequence)
        bench.tick.run()
    slow.clogged = False
    bench.depth(200)
    bench.tick.run()
    for wire, book in books.items():
        for message in wire.read():
            if message.get("channel") == "book" and "sequence" in message:
                book.apply(message)
    latest = bench.state.instrument("kraken", "BTC-USD").depth
    assert latest is not None
    assert books[slow].equals(latest)
    assert books[fast].equals(latest)
    assert (books[fast].snapshots, books[fast].deltas) == (2, 199)
    assert books[slow].snapshots >= 2
    assert books[slow].deltas < 50, "it saw fewer states"


def test_a_client_that_left_a_feed_while_it_was_slow_is_owed_no_snapshot_of_it() -> None:
    bench = Bench(queue_bytes=4000)
    wire, session = bench.client(BOOK)
    wire.read()
    wire.clogged = True
    for sequence in range(1, 100):
        bench.depth(sequence)
        bench.tick.run()
    assert session.conflated
    session.receive(LEAVE_BOOK)
    wire.clogged = False
    bench.tick.run()
    assert kinds(wire.read()) == ["unsubscribed"]


def test_a_conflated_client_that_takes_nothing_is_given_up() -> None:
    bench = Bench(queue_bytes=4000, stall_seconds=10)
    stalled, session = bench.client(BOOK)
    fast, _ = bench.client(BOOK)
    stalled.clogged = True
    for sequence in range(1, 100):
        bench.depth(sequence)
        bench.tick.run()
    closed = []
    for _ in range(11):
        bench.tick.time += 1
        bench.hub.check()
        closed.append(stalled.closed_with)
    assert closed == [None] * 9 + [SLOW] * 2
    assert session.subscriptions == 0
    assert fast.closed_with is None
    fast.read()
    bench.depth(100)
    bench.tick.run()
    assert len(fast.read()) >= 1


def test_a_client_that_was_quiet_for_long_is_not_taken_for_a_stalled_one() -> None:
    bench = Bench(queue_bytes=4000, stall_seconds=10)
    wire, _ = bench.client(BOOK)
    bench.tick.time += 1000
    for sequence in range(1, 100):
        bench.depth(sequence)  # a burst in one tick: conflated before it could be written at all
    bench.hub.check()
    assert wire.closed_with is None
    wire.read()
    bench.tick.run()
    assert kinds(wire.read())[-1] == "snapshot"


def test_a_client_that_reads_no_answers_is_given_up() -> None:
    bench = Bench(queue_bytes=1024)
    wire, session = bench.client()
    wire.clogged = True
    for number in range(100):
        session.receive(f'{{"op":"ping","id":{number}}}')
    assert wire.closed_with is SLOW


def test_idle_clients_hear_a_heartbeat_in_time() -> None:
    bench = Bench()
    wire, _ = bench.client()
    clogged, session = bench.client(BOOK)
    clogged.read()
    clogged.clogged = True
    bench.depth(1)
    bench.tick.run()
    wire.read()
    beats = []
    for _ in range(20):
        bench.tick.time += 1
        bench.hub.check()
        bench.tick.run()
        beats.append(bool(wire.read()))
    assert all(any(beats[n : n + int(HEARTBEAT_SECONDS)]) for n in range(20 - int(HEARTBEAT_SECONDS)))
    clogged.clogged = False
    bench.hub.waiting(session)
    bench.tick.run()
    assert [each["reason"] for each in clogged.read()] == [None, "stale"], "what waits will be sign of life enough"


def test_at_shutdown_all_are_told_and_closed() -> None:
    bench = Bench()
    wires = [bench.client(BOOK)[0] for _ in range(3)]
    bench.hub.shut_down()
    for wire in wires:
        assert kinds(wire.read())[-1] == "shutdown"
        assert wire.closed_with is RESTART
    assert bench.hub.stopping


async def test_emptied_waits_for_the_last_client_with_a_bound() -> None:
    bench = Bench()
    await bench.hub.emptied(60)
    _, session = bench.client(BOOK)
    await bench.hub.emptied(0.01)
    waiting = bench.hub.emptied(60)
    bench.hub.closed(session)
    bench.hub.closed(session)
    await waiting
    assert not bench.hub.sessions


def test_a_closed_session_gets_nothing_more() -> None:
    bench = Bench()
    wire, session = bench.client(BOOK)
    wire.read()
    bench.hub.closed(session)
    bench.depth(1)
    bench.tick.run()
    assert wire.read() == []


async def test_without_a_schedule_the_running_loop_ends_the_tick() -> None:
    hub = Hub(MarketState(max_book_age=MAX_BOOK_AGE), queue_bytes=10_000)
    wire = ClogableWire()
    hub.open(wire)
    assert wire.frames == []
    await asyncio.sleep(0)
    assert messages_of(text_of(wire.frames[0]))[0]["type"] == "hello"


# --- books that become stale -----------------------------------------------------------------------------------

ARBITRAGE = '{"op":"subscribe","id":4,"channel":"arbitrage","symbol":"*"}'


def test_a_book_that_nobody_confirms_is_told_to_be_stale_in_time() -> None:
    bench = Bench()
    wire, _ = bench.client(BOOK)
    bench.depth(1, received_time=START)
    bench.tick.run()
    wire.read()
    bench.tick.advance(5.0)
    assert wire.read() == []
    bench.tick.advance(0.1)
    (message,) = wire.read()
    assert (message["type"], message["valid"], message["reason"]) == ("snapshot", False, "stale")
    assert (message["epoch"], message["sequence"], message["bids"]) == (str(START), 1, [])
    bench.tick.advance(60.0)
    assert wire.read() == [], "once"
    bench.depth(2, received_time=bench.tick.clock())
    bench.tick.run()
    (message,) = wire.read()
    assert (message["type"], message["valid"], message["reason"], message["sequence"]) == ("snapshot", True, None, 2)


def test_a_subscriber_is_never_told_that_an_old_book_is_good() -> None:
    bench = Bench()
    bench.depth(1, received_time=START)
    first, _ = bench.client(BOOK)
    assert first.read()[-1]["valid"] is True
    bench.tick.time += 5.001  # the timer is due and has not run yet
    later, _ = bench.client(BOOK)
    assert later.read()[-1]["reason"] == "stale"
    assert first.read()[-1]["reason"] == "stale"


def test_timers_sleep_until_a_book_can_become_stale() -> None:
    bench = Bench()
    bench.tick.advance(3600)
    assert bench.tick.wakes == 0, "no book, no timer"
    for tenth in range(600):
        bench.depth(tenth + 1, received_time=bench.tick.clock())
        bench.tick.advance(0.1)
    assert 10 <= bench.tick.wakes <= 14, "a minute of ten books a second: a look every five seconds"
    assert len(bench.tick.pending) == 1
    bench.tick.advance(3600)
    assert bench.tick.wakes <= 15
    assert bench.tick.pending == [], "all is stale: nothing to wait for"


def test_many_books_that_end_one_after_the_other_do_not_wake_it_for_each() -> None:
    bench = Bench()
    for number in range(1000):
        bench.depth(1, symbol=f"A{number}-USD", received_time=START + number * 1_000_000)
    bench.tick.advance(7)
    assert bench.tick.wakes <= 25, "a second in which a thousand end, a look every 50 ms"
    assert {each.fault for each in bench.state.instruments() if each.depth} == {"stale"}


def test_a_stop_leaves_no_timer() -> None:
    bench = Bench()
    bench.depth(1, received_time=START)
    assert len(bench.tick.pending) == 1
    bench.hub.shut_down()
    bench.depth(2, received_time=START)
    assert bench.tick.pending == []


def test_a_clock_that_was_set_ahead_is_noticed_by_the_check() -> None:
    bench = Bench()
    wire, _ = bench.client(BOOK)
    bench.depth(1, received_time=START)
    bench.tick.run()
    wire.read()
    bench.hub.clock = lambda: START + 3600 * SECOND
    bench.hub.check()
    bench.tick.run()
    assert "stale" in {each.get("reason") for each in wire.read()}


def test_open_opportunities_come_and_go_with_their_books() -> None:
    bench = Bench()
    wire, _ = bench.client(ARBITRAGE)
    kraken = {"received_time": START}
    bench.depth(1, **kraken)
    bench.depth(1, venue="coinbase", received_time=START + SECOND)
    bench.hub.apply(market.opportunity("a"), START)
    bench.tick.run()
    assert [each["type"] for each in wire.read()][-1] == "opportunity"
    bench.tick.advance(5.1)
    (message,) = wire.read()
    assert (message["type"], message["symbol"], message["opportunities"]) == ("snapshot", "*", [])
    bench.tick.advance(1.0)
    assert [each["opportunities"] for each in wire.read()] == [[]], "the other book, too"
    bench.depth(2, venue="coinbase", received_time=bench.tick.clock())
    bench.tick.run()
    assert wire.read()[-1]["opportunities"] == [], "one good book is not enough"
    bench.depth(2, received_time=bench.tick.clock())
    bench.tick.run()
    assert [each["opportunity_id"] for each in wire.read()[-1]["opportunities"]] == ["a"]
    bench.depth(3, valid=False, received_time=bench.tick.clock())
    bench.tick.run()
    assert wire.read()[-1]["opportunities"] == []


def test_a_book_without_open_opportunities_makes_no_word_about_them() -> None:
    bench = Bench()
    wire, _ = bench.client(ARBITRAGE)
    wire.read()
    bench.depth(1, received_time=START)
    bench.tick.advance(6.0)
    assert [each for each in wire.read() if each["type"] != "heartbeat"] == []


def told(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_age_of_the_oldest_record_is_observed_where_somebody_gets_it() -> None:
    bench = Bench()
    before = told("alphapulse_delivery_age_seconds_count"), told("alphapulse_delivery_age_seconds_sum")
    bench.depth(1, received_time=bench.tick.clock() - 9 * SECOND)
    bench.tick.run()
    assert told("alphapulse_delivery_age_seconds_count") == before[0], "there is nobody"
    bench.client(BOOK, TRADES)
    bench.depth(2, received_time=bench.tick.clock() - 2 * SECOND)
    bench.hub.apply(market.trade(received_time=bench.tick.clock() - 3 * SECOND), bench.tick.clock())
    bench.tick.run()
    assert told("alphapulse_delivery_age_seconds_count") - before[0] == 1
    assert told("alphapulse_delivery_age_seconds_sum") - before[1] == pytest.approx(3.0)


def test_the_metrics_tell_the_books_of_each_venue_as_they_are_when_asked() -> None:
    bench = Bench()
    bench.depth(1, received_time=bench.tick.clock())
    bench.hub.check()

    def books() -> list[float]:
        return [told("alphapulse_gateway_books", venue="kraken", status=s) for s in ("good", "stale", "invalid")]

    assert books() == [1.0, 0.0, 0.0]
    bench.tick.advance(MAX_BOOK_AGE / SECOND + 1)
    assert books() == [0.0, 1.0, 0.0]
    bench.depth(2, received_time=bench.tick.clock(), valid=False)
    assert books() == [0.0, 0.0, 1.0]


def test_every_code_of_closing_begins_at_none() -> None:
    Bench()
    codes = {sample.labels["code"] for family in metrics.GATEWAY_DISCONNECTS.collect() for sample in family.samples}
    assert {str(code.number) for code in close_codes.ALL} <= codes


def test_a_traced_record_is_followed_to_the_sockets() -> None:
    bench, export = Bench(), Collected()
    wire, _ = bench.client(BOOK)
    traces = DeliveryTraces(Tracer(export, 0.0), bench.hub)
    read = time.time_ns()
    record = market.depth(sequence=1)
    consumed = SimpleNamespace(topic="md.depth", partition=3, offset=17, headers=TraceContext(7, 9).headers)
    bench.hub.apply(record, bench.tick.clock())
    traces.delivered(consumed, record, read)
    assert not export.ended, "it is only queued"
    wire.read()
    bench.tick.run()
    assert kinds(wire.read()) == ["snapshot"]
    ((span, end, _),) = export.ended
    assert (span.name, span.parent, span.start) == ("deliver", TraceContext(7, 9), read)
    assert end > read
    assert span.attributes["messaging.kafka.offset"] == 17
    assert (span.attributes["alphapulse.venue"], span.attributes["alphapulse.symbol"]) == ("kraken", "BTC-USD")
    assert span.attributes["alphapulse.subscriptions"] == 1


def test_a_traced_record_that_nobody_subscribed_to_is_delivered_at_once() -> None:
    bench, export = Bench(), Collected()
    traces = DeliveryTraces(Tracer(export, 0.0), bench.hub)
    consumed = SimpleNamespace(topic="md.depth", partition=3, offset=17, headers=TraceContext(7, 9).headers)
    for record in (market.depth(sequence=1), market.event()):
        traces.delivered(consumed, record, time.time_ns())
    consumed.headers = [("traceparent", b"junk")]
    traces.delivered(consumed, market.trade(), time.time_ns())
    assert [span.attributes["alphapulse.subscriptions"] for span in export.spans] == [0, 0]
