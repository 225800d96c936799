"""The judge of an outage finds what it is there to find."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alphapulse import topics
from alphapulse.config import PublisherSettings
from producers.simulator.events import BookChange
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from schemas.codec import Codec
from schemas.records import Event, L2Update, Record, Trade
from tests.fixtures.truth import TrueBook
from tests.outage.observed import Observed, Plan, Sample
from tests.outage.venue import Diary, read_diary
from tests.outage.verdict import judge, report

PLAN = Plan(venues=("kraken",), symbols=("BTC-USD",), connections=1, publisher=PublisherSettings(max_in_flight=100))
KEY = "kraken|BTC-USD"
SECOND = 10**9
KILLED, RETURNED, END = 1_000 * SECOND, 1_060 * SECOND, 1_068 * SECOND


class Made:
    """An outage as it should be; tests spoil it."""

    def __init__(self, folder: Path) -> None:
        self.records: list[tuple[int, Record]] = []
        self.last_sequence = 0
        self.seen = Observed(PLAN, killed=KILLED, started=RETURNED - SECOND, returned=RETURNED, stopped=END)
        market = Market(
            make_listings(PLAN.venues, PLAN.symbols), seed=PLAN.seed, rate=8.0, start_ns=KILLED - 5 * SECOND
        )
        beginning = Market(make_listings(PLAN.venues, PLAN.symbols), seed=PLAN.seed, rate=1.0, start_ns=0)
        self.truth = TrueBook(beginning.instruments["kraken", "BTC-USD"])
        file = io.BytesIO()
        diary = Diary(market, file)
        known, traded = False, 0
        self.add(KILLED - 5 * SECOND, self.event("connected", {}))
        for event in market.advance(END):
            read = event.time_ns < KILLED or event.time_ns > RETURNED
            if not isinstance(event, BookChange):
                if read:
                    first = event.trades[0].trade_id
                    if traded and first > traded + 1:
                        gap = {"missing": str(first - traded - 1)}
                        self.add(event.time_ns, self.event("trade_gap", gap))
                    for trade in event.trades:
                        self.add(event.time_ns, self.trade(trade.trade_id, event.time_ns))
                        traded = trade.trade_id
                continue
            self.truth.changed(event, event.time_ns // 1000)
            if not read and known:
                known = False
                self.add(RETURNED, self.update("INVALID", event.time_ns))
                self.add(RETURNED, self.event("disconnected", {}))
            elif read:
                self.add(event.time_ns, self.update("DELTA" if known else "SNAPSHOT", event.time_ns))
                known = True
        diary_file = folder / "diary.jsonl"
        diary_file.write_bytes(file.getvalue())
        self.seen.diary, self.seen.last = read_diary(diary_file), dict(diary.last)
        self.seen.gaps = {"kraken": {"connection": 1, "trade_id": 1}}
        self.seen.log_lines = {"kraken": 3}
        for time, resident in ((KILLED - SECOND, 60_000_000), (KILLED + SECOND, 66_000_000)):
            status = {"in_flight": 90, "in_flight_bytes": 9_000}
            self.seen.samples["kraken"].append(Sample(time, resident, status))

    def add(self, time_ns: int, record: Record) -> None:
        self.records.append((time_ns + 20_000_000, record))

    def update(self, kind: Any, time_ns: int) -> L2Update:
        """Return the next record; every one but INVALID holds the whole book, which is a change as well as any."""
        book = self.truth.now()
        self.last_sequence = 0 if kind == "SNAPSHOT" else self.last_sequence + 1
        sides: list[list[int]] = [[], [], [], []]
        if kind == "DELTA":  # what was and is no more, then what is
            for index, side in ((0, "bids"), (2, "asks")):
                for price in getattr(self, f"old_{side}", ()):
                    sides[index].append(price)
                    sides[index + 1].append(0)
        if kind != "INVALID":
            for index, side in ((0, "bids"), (2, "asks")):
                levels = list(getattr(book, side))
                setattr(self, f"old_{side}", [price for price, _ in levels])
                sides[index] += [price for price, _ in levels]
                sides[index + 1] += [size for _, size in levels]
        if kind == "SNAPSHOT":
            self.epoch = time_ns
        return L2Update(
            venue="kraken",
            symbol="BTC-USD",
            kind=kind,
            epoch=self.epoch,
            sequence=self.last_sequence,
            exchange_sequence=None,
            exchange_time=time_ns,
            received_time=time_ns,
            price_exponent=-8,
            size_exponent=-8,
            bid_prices=sides[0],
            bid_sizes=sides[1],
            ask_prices=sides[2],
            ask_sizes=sides[3],
            checksum=None,
        )

    def trade(self, trade_id: int, time_ns: int) -> Trade:
        return Trade(
            venue="kraken",
            symbol="BTC-USD",
            trade_id=str(trade_id),
            side="BUY",
            price=1,
            size=1,
            price_exponent=-8,
            size_exponent=-8,
            exchange_time=time_ns,
            received_time=time_ns,
        )

    def event(self, kind: str, details: dict[str, str]) -> Event:
        return Event(
            time=RETURNED,
            service="collector-kraken",
            kind=kind,
            severity="WARNING",
            venue="kraken",
            symbol="BTC-USD",
            message="",
            details=details,
        )

    def broken(self) -> list[str]:
        codec, topic_of = Codec(), {L2Update: topics.L2, Trade: topics.TRADES, Event: topics.EVENTS}
        self.seen.arrived = {}
        for arrived, record in self.records:
            topic = topic_of[type(record)]
            key = "collector-kraken" if topic == topics.EVENTS else KEY
            self.seen.arrived.setdefault((topic, key), []).append((arrived, codec.encode(record)))
        verdict = judge(self.seen)
        assert list(report(self.seen, verdict))[-len(verdict.broken) - 1].startswith("60 s, 5000 frames/s: ")
        return verdict.broken

    def index(self, kind: str, after: int = 0) -> int:
        """Return where the first record of a book of this kind is that came after ``after``."""
        return next(
            number
            for number, (arrived, record) in enumerate(self.records)
            if isinstance(record, L2Update) and record.kind == kind and arrived > after
        )


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_an_outage_as_it_should_be_breaks_nothing(made: Made) -> None:
    assert made.broken() == []


def late(made: Made) -> None:
    made.records = [(time + 6 * SECOND if time > RETURNED else time, record) for time, record in made.records]
    made.seen.diary[KEY] = [
        (number, time_ns + (6 * SECOND if time_ns > RETURNED else 0), bids, asks)
        for number, time_ns, bids, asks in made.seen.diary[KEY]
    ]


def stale(made: Made) -> None:
    made.records = [(time + 2 * SECOND if time > RETURNED else time, record) for time, record in made.records]


def wrong_level(made: Made) -> None:
    at = made.index("DELTA", RETURNED)
    time, record = made.records[at]
    assert isinstance(record, L2Update)
    made.records[at] = (time, replace(record, ask_sizes=[*record.ask_sizes[:-1], 1]))


def lost_record(made: Made) -> None:
    del made.records[made.index("DELTA", RETURNED)]


def no_invalid(made: Made) -> None:
    del made.records[made.index("INVALID")]


def trade_twice(made: Made) -> None:
    made.records.append(next(entry for entry in made.records if isinstance(entry[1], Trade)))


def trade_lost(made: Made) -> None:
    numbers = [number for number, (_, record) in enumerate(made.records) if isinstance(record, Trade)]
    del made.records[numbers[3]]


def last_trade_lost(made: Made) -> None:
    numbers = [number for number, (_, record) in enumerate(made.records) if isinstance(record, Trade)]
    del made.records[numbers[-1]]


def uncounted(made: Made) -> None:
    made.seen.gaps["kraken"]["connection"] = 0


def counted_twice(made: Made) -> None:
    made.records.append((RETURNED, made.event("disconnected", {})))


def closed_again(made: Made) -> None:
    made.add(END, made.update("INVALID", END))
    made.add(END, made.event("disconnected", {}))
    made.add(END, made.update("SNAPSHOT", END + 1))
    made.seen.gaps["kraken"]["connection"] = 2


def test_a_connection_lost_before_its_snapshot_ends_no_epoch(made: Made) -> None:
    made.records.append((RETURNED, made.event("connected", {})))
    counted_twice(made)
    made.seen.gaps["kraken"]["connection"] = 2
    assert not made.broken()


def test_a_collector_that_says_it_is_late_ends_its_books_once_more(made: Made) -> None:
    made.add(END, made.update("INVALID", END))
    made.add(END, made.event("late", {"ended": "1"}))
    made.add(END, made.update("SNAPSHOT", END + 1))
    made.seen.gaps["kraken"]["late"] = 1
    assert not made.broken()


def other_loss(made: Made) -> None:
    made.seen.gaps["kraken"]["checksum"] = 1


def swollen(made: Made) -> None:
    made.seen.samples["kraken"].append(Sample(KILLED + 2, 200_000_000, {"in_flight": 1, "in_flight_bytes": 1}))


def unbounded(made: Made) -> None:
    made.seen.samples["kraken"].append(Sample(KILLED + 2, 60_000_000, {"in_flight": 700, "in_flight_bytes": 10**9}))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (late, ["right again after 6."]),
        (stale, ["right again after inf s"]),
        (wrong_level, ["not the venue's book at record"]),
        (lost_record, ["is a gap"]),
        (no_invalid, ["SNAPSHOT SNAPSHOT: not each begun is ended", "0 epochs and 1 connections ended"]),
        (trade_twice, ["1 trades twice"]),
        (trade_lost, ["trades lost"]),
        (last_trade_lost, ["the last trade is missing"]),
        (uncounted, ["1 connections ended, counted: {'connection': 0"]),
        (counted_twice, ["2 connections ended, 1 made"]),
        (closed_again, ["2 epochs ended"]),
        (other_loss, ["losses besides the outage: {'checksum': 1}"]),
        (swollen, ["grew by 140,000,000 bytes"]),
        (unbounded, ["700 records in flight", "1,000,000,000 bytes in flight"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_as_it_should_be_is_told(made: Made, spoil: Callable[[Made], None], told: list[str]) -> None:
    spoil(made)
    broken = "\n".join(made.broken())
    assert all(text in broken for text in told), broken
