from __future__ import annotations

from producers.collector.record_gate import MOST_TRADES, RecordGate
from schemas.records import Event, L2Kind, L2Update, Record, Trade
from tests.fixtures.market import trade
from tests.unit.producers.collector.test_continuation import l2


class Sink:
    """Takes what it is given."""

    def __init__(self) -> None:
        self.taken_records: list[Record] = []

    def publish(self, record: Record) -> None:
        self.taken_records.append(record)


def gate() -> tuple[RecordGate, Sink]:
    sink = Sink()
    return RecordGate(sink), sink  # type: ignore[arg-type]  # the gate only publishes here


def event() -> Event:
    return Event(time=1, service="s", kind="k", severity="INFO", message="m")


def test_a_closed_gate_lets_only_events_through() -> None:
    it, sink = gate()
    for record in (l2("SNAPSHOT"), trade("1"), event()):
        it.publish(record)
    assert sink.taken_records == [event()]
    assert it.take_held("BTC-USD") == ([trade("1")], [])
    assert it.take_held("BTC-USD") == ([], [])


def test_an_open_gate_is_the_sink_itself() -> None:
    it, sink = gate()
    it.open()
    assert it.publish == sink.publish


def test_instruments_pass_one_by_one_in_both_directions() -> None:
    it, sink = gate()
    it.open_for(["BTC-USD"])
    it.publish(l2("DELTA"))
    it.publish(l2("DELTA", symbol="ETH-USD"))
    it.open()
    it.close_for(["BTC-USD"])
    it.publish(l2("DELTA"))
    it.publish(l2("DELTA", symbol="ETH-USD"))
    assert [r.symbol for r in sink.taken_records if isinstance(r, L2Update)] == ["BTC-USD", "ETH-USD"]
    assert not it.lets_through("BTC-USD")
    it.open_for(["BTC-USD"])
    assert it.publish == sink.publish


def test_only_the_newest_trades_are_held() -> None:
    it, _ = gate()
    for number in range(MOST_TRADES + 5):
        it.publish(trade(str(number)))
    held, _ = it.take_held("BTC-USD")
    assert isinstance(held[0], Trade)
    assert (len(held), held[0].trade_id) == (MOST_TRADES, "5")


def test_without_the_right_no_epoch_begins() -> None:
    it, sink = gate()
    it.open()
    it.expire()
    kinds: tuple[L2Kind, ...] = ("DELTA", "SNAPSHOT", "DELTA", "INVALID")
    for kind in kinds:
        it.publish(l2(kind))
    assert [r.kind for r in sink.taken_records if isinstance(r, L2Update)] == ["DELTA"]
    assert it.renew() == {"BTC-USD"}
    assert it.publish == sink.publish
