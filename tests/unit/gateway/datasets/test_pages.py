"""Pages from memory and tables: the tables here are rows in Python, with the order and the limit of the query."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import RequestRefused
from gateway.datasets.dataset import Dataset
from gateway.datasets.opportunities import opportunities
from gateway.datasets.pages import Page, Pages
from gateway.datasets.selection import Selection
from gateway.datasets.trades import trades
from gateway.state import MarketState
from gateway.tables import Parameters, TablesUnavailable
from schemas.records import Trade
from tests.fixtures import market
from tests.fixtures.market import SECOND, START

LIVE = START + 100 * SECOND
HORIZON = START + 200 * SECOND


class Rows:
    """Tables with ``rows``, which understand the parameters of the queries for trades."""

    def __init__(self, rows: list[Trade]) -> None:
        self.rows = rows
        self.queries = 0
        self.failure = ""
        self.answers: int | None = None

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        if self.failure or self.queries == self.answers:
            raise TablesUnavailable(self.failure or "no answer")
        self.queries += 1
        names = [f"key_{number}" for number in range(4)]
        position = tuple(parameters[name] for name in names) if "key_0" in parameters else None
        selection = Selection(
            begin=int(parameters["begin"]) if "begin" in parameters else None,
            end=int(parameters["end"]) if "end" in parameters else None,
            order="desc" if "DESC" in query else "asc",
            position=position,
        )
        state = MarketState(max_book_age=1)
        for row in self.rows:
            state.apply(row, START)
        dataset = trades(state, lambda: 0)
        found = sorted(dataset.recent(selection).rows, key=lambda each: each[0], reverse=selection.descending)
        return pa.Table.from_pylist([make() for _, make in found[: int(parameters["limit"])]], schema=dataset.schema)

    async def close(self) -> None:
        """Nothing to close."""


def traded(identity: int, second: float) -> Trade:
    return market.trade(f"{identity:03}", received_time=START + int(second * SECOND))


def setting(stored: list[Trade], recent: list[Trade]) -> tuple[Rows, Pages, Dataset]:
    state = MarketState({"kraken": ("BTC-USD",)}, max_book_age=market.MAX_BOOK_AGE)
    for each in recent:
        state.apply(each, START)
    rows = Rows(stored)
    return rows, Pages(rows, lambda: HORIZON), trades(state, lambda: LIVE)


def texts(rows: pa.Table) -> list[str]:
    return [str(value) for value in rows.column("id").to_pylist()]


def ids(page: Page) -> list[str]:
    return texts(page.rows)


OLD = [traded(number, number) for number in range(50)]
NEW = [traded(100 + number, 210 + number) for number in range(5)]


async def test_recent_rows_are_answered_from_memory_alone() -> None:
    rows, pages, dataset = setting(OLD, NEW)
    newest = await pages.page(dataset, Selection(), 3)
    assert (ids(newest), rows.queries) == (["104", "103", "102"], 0)
    assert newest.following is not None
    page = await pages.page(dataset, Selection(begin=LIVE + 1), 10)
    assert (ids(page), page.following, rows.queries) == (["104", "103", "102", "101", "100"], None, 0)
    upwards = await pages.page(dataset, Selection(begin=LIVE + 1, order="asc"), 10)
    assert upwards.following is not None, "an open range goes on"
    following = await pages.page(dataset, upwards.following, 10)
    assert (ids(following), rows.queries) == ([], 0)


async def test_older_rows_come_from_the_tables_each_row_once() -> None:
    rows, pages, dataset = setting(OLD + NEW[:3], NEW)
    selection: Selection | None = Selection()
    found: list[str] = []
    while selection is not None:
        page = await pages.page(dataset, selection, 7)
        assert page.complete_until is None
        found += ids(page)
        selection = page.following
    assert found == [f"{number:03}" for number in [*range(104, 99, -1), *range(49, -1, -1)]]
    assert rows.queries


async def test_a_range_of_the_past_is_the_tables_alone() -> None:
    _, pages, dataset = setting(OLD, OLD[40:])
    page = await pages.page(dataset, Selection(begin=START, end=START + 45 * SECOND, order="asc"), 100)
    assert (len(ids(page)), page.stored, page.following) == (45, True, None)


async def test_without_tables_memory_still_answers_and_says_from_when() -> None:
    rows, pages, dataset = setting([], NEW)
    rows.failure = "no ClickHouse sink runs"
    page = await pages.page(dataset, Selection(), 10)
    assert (len(ids(page)), page.following, page.complete_from) == (5, None, LIVE)
    for selection in (Selection(begin=START), Selection(order="asc"), Selection().after((LIVE, "", "", ""))):
        with pytest.raises(TablesUnavailable, match="no ClickHouse sink runs"):
            await pages.page(dataset, selection, 10)


async def test_rows_that_may_be_missing_are_told() -> None:
    crowd = [traded(number % 1000, 190 + number / 50) for number in range(1500)]  # more than memory keeps
    rows, pages, dataset = setting(crowd[:600], [traded(number, 190 + number / 50) for number in range(1500)])
    rows.rows = [traded(number, 190 + number / 50) for number in range(600)]
    # Memory begins at 200 s, which is the horizon: nothing is missing.
    page = await pages.page(dataset, Selection(begin=START), 2000)
    assert page.complete_until is None
    assert len(ids(page)) == 1500
    early = Pages(rows, lambda: START + 195 * SECOND)
    page = await early.page(dataset, Selection(begin=START), 2000)
    assert page.complete_until == START + 195 * SECOND
    upwards = await early.page(dataset, Selection(begin=START, order="asc"), 2000)
    assert int(ids(upwards)[-1]) == 249, "an ascending page ends where rows may be missing"
    assert upwards.following is not None
    assert upwards.following.position is not None


async def test_without_a_horizon_no_range_counts_as_complete() -> None:
    rows, _, dataset = setting(OLD, NEW)
    pages = Pages(rows, lambda: 0)
    page = await pages.page(dataset, Selection(begin=START, end=START + 45 * SECOND), 100)
    assert (len(ids(page)), page.complete_until, page.stored) == (45, 0, False)
    with pytest.raises(TablesUnavailable, match="not known"):
        await pages.page(dataset, Selection(begin=START, end=START + 45 * SECOND, order="asc"), 100)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_stream_that_the_tables_fail_is_cut(order: Any) -> None:
    # Years lie between the two halves, so the last window of a descending stream has neither begin nor position.
    old = [traded(number, number - 10**8 * (number < 10)) for number in range(50)]
    rows, pages, dataset = setting(old, NEW)
    selection = Selection(order=order)
    for answered in range(100):
        rows.failure, rows.queries, rows.answers = "", 0, None
        first = await pages.opening(dataset, selection, 4)
        rows.answers = rows.queries + answered
        found = texts(first.rows)
        try:
            async for part in pages.stream(dataset, selection, first, 4):
                found += texts(part) if part is not first.rows else []
        except TablesUnavailable:
            continue
        else:
            assert len(found) == 55
            break
    assert answered > 5, "it has been cut everywhere before"


async def test_a_stream_tells_first_what_is_not_stored_yet_or_is_cut() -> None:
    """Memory begins at 205 s; the tables are complete up to 150 s."""
    old = [traded(number, number) for number in range(150)]
    state = MarketState({"kraken": ("BTC-USD",)}, max_book_age=market.MAX_BOOK_AGE)
    for each in NEW:
        state.apply(each, START)
    dataset = trades(state, lambda: START + 205 * SECOND)
    horizon = START + 150 * SECOND
    pages = Pages(Rows(old), lambda: horizon)
    for order in ("desc", "asc"):
        selection = Selection(order=order)
        first = await pages.opening(dataset, selection, 4)
        assert first.complete_until == horizon
        found = [text async for part in pages.stream(dataset, selection, first, 4) for text in texts(part)]
        stored = [each.trade_id for each in old]
        assert found == (stored if order == "asc" else [each.trade_id for each in [*old, *NEW]][::-1])
        unaware = await pages.page(dataset, selection, 4)
        assert unaware.complete_until is None or order == "asc"
        horizon = START + 205 * SECOND
        first = await pages.opening(dataset, selection, 4)
        assert first.complete_until is None
        horizon = START + 100 * SECOND  # the sink has fallen behind meanwhile
        with pytest.raises(TablesUnavailable, match="not stored yet"):
            _ = [part async for part in pages.stream(dataset, selection, first, 4)]
        horizon = START + 150 * SECOND


async def test_a_cursor_of_another_shape_is_refused() -> None:
    _, pages, dataset = setting([], [])
    for position in ((1,), (1, "kraken", "BTC-USD", 7), (1, 2, 3, 4), (1, "a", "b", "c", "d")):
        with pytest.raises(RequestRefused, match="cursor"):
            await pages.page(dataset, Selection(position=position), 10)
    changing = opportunities(MarketState(max_book_age=1), lambda: LIVE)
    with pytest.raises(RequestRefused, match="cursor"):
        await pages.page(changing, Selection(position=(1, "a")), 10)


@given(
    st.lists(st.integers(0, 199), max_size=40),
    st.lists(st.integers(201, 300), max_size=40),
    st.integers(1, 9),
    st.sampled_from(["asc", "desc"]),
)
def test_pages_have_every_row_once_in_order(old: list[int], new: list[int], limit: int, order: Any) -> None:
    everything = [traded(number, second) for number, second in enumerate(sorted(old + new))]
    stored = [each for each in everything if each.received_time <= HORIZON]
    recent = [each for each in everything if each.received_time > LIVE]
    _, pages, dataset = setting(stored, recent)

    async def read() -> list[str]:
        found: list[str] = []
        selection: Selection | None = Selection(begin=START, end=START + 301 * SECOND, order=order)
        while selection is not None:
            page = await pages.page(dataset, selection, limit)
            found += ids(page)
            if order == "asc" and page.rows.num_rows < limit:
                break
            selection = page.following
        return found

    found = asyncio.run(read())
    expected = [each.trade_id for each in everything]
    assert found == (expected if order == "asc" else expected[::-1])


@given(
    st.lists(st.integers(0, 199), max_size=40),
    st.lists(st.integers(201, 300), max_size=40),
    st.integers(1, 9),
    st.sampled_from(["asc", "desc"]),
    st.booleans(),
)
def test_a_stream_has_every_row_once_in_order(
    old: list[int], new: list[int], limit: int, order: Any, bounded: bool
) -> None:
    # Years lie between the first rows and the others: windows must not be walked through one by one.
    everything = [traded(number, second - 10**8 * (second < 50)) for number, second in enumerate(sorted(old + new))]
    stored = [each for each in everything if each.received_time <= HORIZON]
    recent = [each for each in everything if each.received_time > LIVE]
    rows, pages, dataset = setting(stored, recent)

    async def read() -> list[str]:
        end = START + 301 * SECOND if bounded else None
        begin = START - 10**8 * SECOND if bounded else None
        selection = Selection(begin=begin, end=end, order=order)
        first = await pages.opening(dataset, selection, limit)
        found: list[str] = []
        async for part in pages.stream(dataset, selection, first, limit):
            found += texts(part)
        return found

    found = asyncio.run(read())
    expected = [each.trade_id for each in everything]
    assert found == (expected if order == "asc" else expected[::-1])
    assert rows.queries <= len(everything) / limit * 4 + 120
