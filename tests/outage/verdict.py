"""What an outage showed, held against the truth and the promises. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from alphapulse import topics
from alphapulse.config import PublisherSettings
from producers.simulator.events import BookChange
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from schemas.book_reader import BookReader, Outcome
from schemas.codec import Codec
from schemas.records import Event, L2Update, Trade
from tests.fixtures.truth import TrueBook
from tests.fixtures.witnesses import same
from tests.outage.observed import Observed, number_of


@dataclass(frozen=True)
class Promises:
    """What is promised for an outage.

    Attributes:
        soon: seconds from the broker's return within which every book is right again.
        gaps: how often a connection is lost each time the broker dies. A broker without time serves one partition after
            the other, and where patience is short that may be an outage of its own.
        factor, allowance_bytes: a collector's resident memory grows by at most ``max_in_flight_bytes`` × ``factor`` +
            ``allowance_bytes``. The factor: what an allocator needs beside what is counted of a record
            (``producers.collector.publisher.RECORD_BYTES`` and its own). The allowance: what a collector's memory
            varies by anyhow (sockets' buffers, the snapshots of all books at once); measured up to 2 MiB.
    """

    soon: float = 5.0
    gaps: int = 1
    factor: float = 1.3
    allowance_bytes: int = 16 * 2**20

    def growth_bytes(self, publisher: PublisherSettings) -> int:
        """Return by how much a collector may grow."""
        return round(publisher.max_in_flight_bytes * self.factor) + self.allowance_bytes


FRESH_SECONDS: Final = 1.0
"""A book that is older is not the venue's present one."""

STANDARD: Final = Promises()

SLACK_RECORDS: Final = 500
SLACK_BYTES: Final = 1_000_000
"""What may come on top of the bounds: a last frame, INVALID for each book, a few events."""

_COMPARED_FIRST: Final = 100  # of an epoch's deltas; then
_COMPARED_EVERY: Final = 10  # for comparing whole books takes longer than applying a delta


@dataclass
class Book:
    """One book as a reader of ``md.l2`` had it.

    Attributes:
        kinds: of its records, deltas left out.
        compared: how often it was held against the true one.
        heard_again: seconds from the broker's return until its first record came, which may be an old one: until then
            the broker, though it answers, does not serve the book's partition.
        right_again: seconds from the broker's return until it was the venue's present book; None: never.
        ages: seconds from a change until the reader had it, after that.
    """

    key: str
    kinds: list[str] = field(default_factory=list)
    compared: int = 0
    heard_again: float | None = None
    right_again: float | None = None
    ages: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Trades:
    """One instrument's trades: how many came, how many are missing between the first and the last."""

    published: int = 0
    missing: int = 0


@dataclass
class Verdict:
    """The figures, and the promises that were broken."""

    broken: list[str] = field(default_factory=list)
    books: dict[str, Book] = field(default_factory=dict)
    trades: dict[str, Trades] = field(default_factory=dict)
    growth: dict[str, int] = field(default_factory=dict)
    bound: int = 0

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note ``otherwise`` as broken unless ``holds``."""
        if not holds:
            self.broken.append(otherwise)


def judge(seen: Observed, promises: Promises = STANDARD) -> Verdict:
    """Return the verdict."""
    verdict, codec = Verdict(), Codec()
    events = [codec.decode_as(Event, value) for value in _values(seen, topics.EVENTS)]
    for key, book in _books(seen, codec):
        verdict.books[key] = book
        verdict.broken += book.wrong
        again = book.right_again if book.right_again is not None else math.inf
        verdict.expect(again <= promises.soon, f"{key}: right again after {again:.2f} s, {promises.soon:g} are allowed")
    _judge_memory(seen, verdict, promises)
    _judge_trades(seen, verdict, codec, events)
    _judge_gaps(seen, verdict, events, promises)
    return verdict


def _values(seen: Observed, topic: str) -> list[bytes]:
    return [value for (name, _), records in seen.arrived.items() if name == topic for _, value in records]


# --- memory ---


def _judge_memory(seen: Observed, verdict: Verdict, promises: Promises) -> None:
    bounds = seen.plan.publisher
    verdict.bound = promises.growth_bytes(bounds)
    for venue, samples in seen.samples.items():
        before = max(sample.resident_bytes for sample in samples if sample.time <= seen.killed)
        since = [sample for sample in samples if sample.time > seen.killed]
        growth = verdict.growth[venue] = max(sample.resident_bytes for sample in since) - before
        records = max(sample.status["in_flight"] for sample in since)
        size = max(sample.status["in_flight_bytes"] for sample in since)
        verdict.expect(growth <= verdict.bound, f"{venue}: grew by {growth:,} bytes, {verdict.bound:,} are allowed")
        verdict.expect(records <= bounds.max_in_flight + SLACK_RECORDS, f"{venue}: {records} records in flight")
        verdict.expect(size <= bounds.max_in_flight_bytes + SLACK_BYTES, f"{venue}: {size:,} bytes in flight")


# --- books ---


def _books(seen: Observed, codec: Codec) -> Iterator[tuple[str, Book]]:
    plan = seen.plan
    listings = make_listings(plan.venues, plan.symbols)
    beginning = Market(listings, seed=plan.seed, rate=1.0, start_ns=0).instruments
    for (venue, symbol), instrument in beginning.items():
        key = f"{venue}|{symbol}"
        truth, times, doubles = TrueBook(instrument), dict[int, int](), set[int]()
        for number, time_ns, bids, asks in seen.diary.get(key, []):
            truth.changed(BookChange(instrument.listing, time_ns, tuple(bids), tuple(asks)), number)
            if number in times:
                doubles.add(number)  # two changes of one microsecond: the number does not tell them apart
            times[number] = time_ns
        yield key, _follow(seen, codec, key, truth, times, doubles)


def _follow(seen: Observed, codec: Codec, key: str, truth: TrueBook, times: dict[int, int], doubles: set[int]) -> Book:
    """Rebuild a book from its records and hold it against ``truth``."""
    book, reader, since_snapshot = Book(key), BookReader(), 0
    for arrived, value in seen.arrived.get((topics.L2, key), []):
        update = codec.decode_as(L2Update, value)
        outcome = reader.apply(update)
        if book.heard_again is None and arrived >= seen.returned:
            book.heard_again = (arrived - seen.returned) / 1e9
        if outcome in (Outcome.GAP, Outcome.WAITING, Outcome.SEEN):
            book.wrong.append(f"{key}: record {update.sequence} of epoch {update.epoch} is a {outcome.value}")
        if update.kind == "HEARTBEAT":
            continue
        if update.kind != "DELTA":
            book.kinds.append(update.kind)
            since_snapshot = 0
            continue
        since_snapshot += 1
        number = number_of(update)
        age = (arrived - times.get(number, 0)) / 1e9
        if book.right_again is not None:
            book.ages.append(age)
        current = arrived >= seen.returned and book.right_again is None and age <= FRESH_SECONDS
        if number in doubles or not (
            current or since_snapshot <= _COMPARED_FIRST or since_snapshot % _COMPARED_EVERY == 0
        ):
            continue
        book.compared += 1
        if number not in times or not same(reader.book, truth.at_sequence(number)):
            book.wrong.append(f"{key}: not the venue's book at record {update.sequence} of epoch {update.epoch}")
        elif current:
            book.right_again = (arrived - seen.returned) / 1e9
    if not reader.valid or not same(reader.book, truth.now()):
        book.wrong.append(f"{key}: not the venue's book at the end")
    return book


# --- trades and gaps ---


def _judge_trades(seen: Observed, verdict: Verdict, codec: Codec, events: list[Event]) -> None:
    for key, last in seen.last.items():
        values = [value for _, value in seen.arrived.get((topics.TRADES, key), [])]
        ids = [int(codec.decode_as(Trade, value).trade_id) for value in values]
        missing = set(range(min(ids, default=0), max(ids, default=0) + 1)) - set(ids)
        told = sum(
            int(event.details["missing"])
            for event in events
            if event.kind == "trade_gap" and f"{event.venue}|{event.symbol}" == key
        )
        verdict.trades[key] = Trades(len(ids), len(missing))
        verdict.expect(len(set(ids)) == len(ids), f"{key}: {len(ids) - len(set(ids))} trades twice")
        verdict.expect(len(missing) == told, f"{key}: {len(missing)} trades lost, {told} told of")
        verdict.expect(max(ids, default=0) == last.get("trade", 0), f"{key}: the last trade is missing")


def connections(events: list[Event], venue: str, kind: str) -> int:
    """Return how many connections the collector says it has made (``connected``), or lost (``disconnected``)."""
    return sum(event.kind == kind and event.venue == venue for event in events)


def _judge_gaps(seen: Observed, verdict: Verdict, events: list[Event], promises: Promises) -> None:
    plan = seen.plan
    for venue in plan.venues:
        lost, counted = connections(events, venue, "disconnected"), seen.gaps[venue]
        made = connections(events, venue, "connected")
        verdict.expect(lost <= made, f"{venue}: {lost} connections ended, {made} made")
        verdict.expect(counted.get("connection", 0) == lost, f"{venue}: {lost} connections ended, counted: {counted}")
        late = counted.get("late", 0)
        expected = ("connection", "trade_id", "late")
        others = {kind: count for kind, count in counted.items() if kind not in expected and count}
        verdict.expect(not others, f"{venue}: losses besides the outage: {others}")
        ended = 0
        for key, book in verdict.books.items():
            if key.startswith(f"{venue}|"):
                ends = book.kinds.count("INVALID")
                in_turn = ["SNAPSHOT", *["INVALID", "SNAPSHOT"] * ends]
                verdict.expect(book.kinds == in_turn, f"{key}: {' '.join(book.kinds)}: not each begun is ended")
                # A collector without time after the return says that it is late: a gap of its own, told and counted.
                verdict.expect(
                    ends <= plan.times * promises.gaps + late, f"{key}: {ends} epochs ended, {late} times late"
                )
                ended += ends
        # The symbols are shared out evenly among the connections.
        # A connection that is late ends its books at once, and none when it is lost meanwhile; nor does one that is
        # lost again before its snapshots have come, as on a machine without time.
        share, apart = ended * plan.connections, late * len(plan.symbols)
        least = min(lost, plan.times * plan.connections) * len(plan.symbols)
        verdict.expect(
            least - apart <= share <= lost * len(plan.symbols) + apart,
            f"{venue}: {ended} epochs and {lost} connections ended, not one gap for each ({late} were late)",
        )


def report(seen: Observed, verdict: Verdict) -> Iterator[str]:
    """Yield the figures, line by line."""
    plan = seen.plan
    yield (
        f"away {(seen.returned - seen.killed) / 1e9:.1f} s (answers {(seen.returned - seen.started) / 1e9:.2f} s after "
        f"its start), {seen.frames_per_second:,.0f} frames/s before"
    )
    for venue, samples in seen.samples.items():
        since = [sample for sample in samples if sample.time > seen.killed]
        yield (
            f"{venue}: grew by {verdict.growth[venue] / 2**20:.1f} MiB of {verdict.bound / 2**20:.0f} allowed, to "
            f"{max(sample.resident_bytes for sample in since) / 2**20:.0f} MiB; in flight at most "
            f"{max(sample.status['in_flight'] for sample in since):,} records, "
            f"{max(sample.status['in_flight_bytes'] for sample in since) / 2**20:.1f} MiB; "
            f"gaps {seen.gaps[venue]}; {seen.log_lines[venue]} lines of log"
        )
    books = list(verdict.books.values())
    again = sorted(book.right_again for book in books if book.right_again is not None)
    heard = [book.heard_again for book in books if book.heard_again is not None]
    ages = [age for book in books for age in book.ages]
    if again:
        yield (
            f"{len(again)} of {len(books)} books right again {again[0]:.2f} to {again[-1]:.2f} s after the return "
            f"(the broker served their partitions {min(heard):.2f} to {max(heard):.2f} s after it); "
            f"then {statistics.median(ages) * 1000:.1f} ms behind (at most {max(ages) * 1000:.0f} ms)"
        )
    yield f"{sum(book.compared for book in books):,} times compared with the true book"
    yield (
        f"{sum(t.published for t in verdict.trades.values()):,} trades, each once; "
        f"{sum(t.missing for t in verdict.trades.values()):,} missing, in counted gaps"
    )
    if seen.skipped_seconds:
        yield f"the market stood still for {seen.skipped_seconds:.1f} s, for which this machine had no time"
    often = f" {plan.times} times" if plan.times > 1 else ""
    yield f"{plan.away:g} s{often}, {plan.rate:g} frames/s: " + (
        "all promises kept" if not verdict.broken else "BROKEN:"
    )
    yield from verdict.broken
