"""Opportunities under any market, any clock and any crash: never on old books, each opened once and closed once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse import topics
from alphapulse.freshness import is_stale
from schemas.codec import Codec
from schemas.records import ArbitrageOpportunity, Depth, Record
from stream_processors.checkpoints.checkpoint import CheckpointLedger, interpret
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
from tests.fixtures.examples import examples
from tests.fixtures.market import START, depth

MS = 1_000_000
MAX_AGE = 1_000 * MS
INSTRUMENTS = [(venue, "BTC-USD") for venue in ("kraken", "coinbase", "binance")] + [("kraken", "ETH-USD")]
"""The last one only lets the partition move on: nobody else has the symbol."""
CODEC = Codec()


@dataclass(frozen=True)
class Step:
    """The worker's clock moves on to ``now``; then it applies ``record``, or its timer goes off."""

    now: int
    record: Depth | None


@st.composite
def lives(draw: st.DrawFn, *, ahead: int = 0) -> list[Step]:
    """What a worker goes through: books of some venues, each record at most 2 s late and ``ahead`` ns early."""
    now = START
    books: dict[tuple[str, str], Depth] = {}
    steps: list[Step] = []
    for pause, what, late in draw(
        st.lists(
            st.tuples(
                st.sampled_from([0, 0, 1, 7, 50, 400, 400, 2_500]),
                st.sampled_from(["tick", *["change"] * 6, "confirm", "confirm", "doubt", "again"]),
                st.sampled_from([0, 0, 0, 1, 50, 50, 700, 2_000, -ahead // (2 * MS), -ahead // MS]),
            ),
            min_size=10,
            max_size=40,
        )
    ):
        now += pause * MS
        if what == "tick":
            steps.append(Step(now, None))
            continue
        venue, symbol = draw(st.sampled_from(INSTRUMENTS))
        known = books.get((venue, symbol))
        received = max(now - late * MS, known.received_time if known is not None else 0)
        if received > now + ahead:
            continue
        if what == "again" and known is not None:
            steps.append(Step(now, known))
            continue
        if what == "confirm" and known is not None and known.valid:
            record = replace(known, received_time=received)
        else:
            bid = draw(st.integers(95, 105))
            record = depth(
                venue=venue,
                symbol=symbol,
                valid=what != "doubt",
                sequence=known.sequence + 1 if known is not None else 0,
                received_time=received,
                bids=[] if what == "doubt" else [(bid, draw(st.integers(1, 3)))],
                asks=[] if what == "doubt" else [(bid + 1, draw(st.integers(1, 3)))],
            )
        books[venue, symbol] = record
        steps.append(Step(now, record))
    return steps


@dataclass
class Worker:
    """One owner of the partition, and what it has published: each with the time and the books it was decided on."""

    partition: Partition = field(default_factory=lambda: Partition(0, Rules(), ArbitrageRules(max_book_age=MAX_AGE)))
    published: list[ArbitrageOpportunity] = field(default_factory=list)

    def go_through(self, step: Step) -> list[ArbitrageOpportunity]:
        out: list[Record] = []
        if step.record is None:
            self.partition.tick(step.now, out)
        else:
            offset = self.partition.positions.get(topics.DEPTH, 0)
            self.partition.apply_depth(offset, step.record, step.now, out)
            self.partition.positions[topics.DEPTH] = offset + 1
        made = [one for one in out if isinstance(one, ArbitrageOpportunity)]
        assert len(made) == len(out)
        self.published += made
        return made

    def end(self, now: int) -> None:
        """Let so much time go by that nothing may be open."""
        self.go_through(Step(now + 10 * MAX_AGE, None))
        assert not any(symbol.open for symbol in self.partition.symbols.values())


def check_lives(published: list[ArbitrageOpportunity], *, ended: bool = True) -> None:
    """Each identity is opened once, and closed once after that, with nothing behind; a pair has one at a time."""
    states: defaultdict[str, list[str]] = defaultdict(list)
    open_now: dict[tuple[str, str, str], str] = {}
    for one in published:
        states[one.opportunity_id].append(one.state)
        pair = one.symbol, one.buy_venue, one.sell_venue
        assert open_now.setdefault(pair, one.opportunity_id) == one.opportunity_id
        if one.state == "CLOSED":
            del open_now[pair]
    for life in states.values():
        last = "CLOSED" if ended else life[-1]
        assert life == ["OPENED", *["CHANGED"] * (len(life) - 2), last][: len(life)]


@given(lives(ahead=3 * MAX_AGE))
def test_nothing_is_opened_or_changed_on_a_book_that_is_not_valid_and_young(steps: list[Step]) -> None:
    worker = Worker()
    books: dict[tuple[str, str], Depth] = {}
    for step in steps:
        if step.record is not None:
            books[step.record.venue, step.record.symbol] = step.record
        for made in worker.go_through(step):
            if made.state != "CLOSED":
                for venue in (made.buy_venue, made.sell_venue):
                    book = books[venue, made.symbol]
                    assert book.valid
                    assert not is_stale(book.received_time, step.now, MAX_AGE)
        if step.record is None:
            for symbol in worker.partition.symbols.values():
                for pair in symbol.open:
                    times = [books[venue, symbol.symbol].received_time for venue in pair]
                    assert not any(is_stale(time, step.now, MAX_AGE) for time in times)
    worker.end(steps[-1].now if steps else START)
    check_lives(worker.published)


def by_pair(published: list[ArbitrageOpportunity]) -> dict[tuple[str, str, str], list[ArbitrageOpportunity]]:
    """Return what was published of each pair, in its order: pairs are closed by the clock in any order."""
    found: defaultdict[tuple[str, str, str], list[ArbitrageOpportunity]] = defaultdict(list)
    for one in published:
        found[one.symbol, one.buy_venue, one.sell_venue].append(one)
    return found


@dataclass(frozen=True)
class Crash:
    """After ``at`` steps a worker dies; of what it published ``lost`` records did not reach the broker.

    ``checkpoint`` and ``commit`` are how many steps they are of, before the limit that the lost records set.
    """

    at: int
    lost: int
    checkpoint: int
    commit: int


earlier = st.sampled_from([0, 0, 1, 3, 10, 40])
crashes = st.builds(Crash, at=st.integers(2, 40), lost=st.integers(0, 3), checkpoint=earlier, commit=earlier)


def taken_over(steps: list[Step], crash: Crash) -> tuple[Worker, Worker]:
    """Go through the first steps, die, and take over with what is on the topics; all records read again are applied."""
    old, ledger, taken = Worker(), CheckpointLedger(), [list[tuple[bytes, bytes]]()]
    whole = Worker()
    counts = [len(whole.published)]
    for step in steps[: crash.at]:
        whole.go_through(step)
        counts.append(len(whole.published))
    reached = max(0, counts[-1] - crash.lost)
    # Nothing is committed or checkpointed before all that it led to is with the broker.
    most = max(number for number, count in enumerate(counts) if count <= reached)
    checkpoint, commit = min(crash.checkpoint, most), min(crash.commit, most)
    for step in steps[:checkpoint]:
        old.go_through(step)
    taken.append(ledger.take(old.partition, CODEC, {topics.ARBITRAGE: len(old.published)}))
    for step in steps[checkpoint : crash.at]:
        old.go_through(step)
    old.published = old.published[:reached]
    now = steps[crash.at - 1].now if crash.at else START

    new = Worker()
    restored = interpret({key: value for records in taken for key, value in records})
    assert restored is not None
    for symbol in restored.symbols.values():
        new.partition.restore_symbol(
            symbol.symbol,
            [CODEC.decode_as(Depth, book) for book in symbol.books],
            [CODEC.decode_as(ArbitrageOpportunity, made) for made in symbol.opportunities],
            symbol.positions,
        )
    position = restored.positions.get(topics.DEPTH, 0)
    records = [step.record for step in steps[: crash.at] if step.record is not None]
    committed = sum(step.record is not None for step in steps[:commit])
    new.partition.positions = {topics.DEPTH: position}
    new.partition.muted_until = {topics.DEPTH: committed}
    new.partition.begin_rereading(len(records), now)
    for made in old.published[restored.published[topics.ARBITRAGE] :]:
        new.partition.was_published(made)
    for record in records[position:]:
        new.go_through(Step(now, record))
    return old, new


@given(lives(), crashes)
@settings(max_examples=examples(300))
def test_a_takeover_publishes_what_would_have_been_published_without_it(steps: list[Step], crash: Crash) -> None:
    # A takeover closes what is stale at once, not with the next tick: here the timer is never late.
    steps = [one for step in steps for one in (Step(step.now, None), step)]
    crash = replace(crash, at=min(2 * crash.at, len(steps)), lost=0)
    whole = Worker()
    for step in steps:
        whole.go_through(step)
    old, new = taken_over(steps, crash)
    for step in steps[crash.at :]:
        new.go_through(step)
    now = steps[-1].now if steps else START
    whole.end(now)
    new.end(now)
    assert by_pair(old.published + new.published) == by_pair(whole.published)


@given(lives(), crashes, crashes)
@settings(max_examples=examples(300))
def test_whatever_is_lost_each_opportunity_is_opened_once_and_closed_once(
    steps: list[Step], crash: Crash, timers: Crash
) -> None:
    crash = replace(crash, at=min(crash.at, len(steps)))
    old, new = taken_over(steps, crash)
    check_lives(old.published, ended=False)
    for number, step in enumerate(steps[crash.at :]):
        if number == timers.at:
            new.go_through(Step(step.now, None))
        new.go_through(step)
    new.end(steps[-1].now if steps else START)
    check_lives(old.published + new.published)
