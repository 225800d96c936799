"""Pages of a result set, from memory as far as it reaches and from the tables beyond.

The sink writes a record one to seven seconds after its publication, later if it is behind. Up to the *horizon* the
tables are complete; what memory knows completely begins somewhere before or after it. Rows that lie between the two may
be missing, which a page says (``complete_until``); an ascending page ends there, so that its cursor passes over
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from alphapulse.errors import RequestRefused
from gateway.datasets.dataset import Dataset, Recent, Row
from gateway.datasets.selection import Key, Selection
from gateway.datasets.times import LAST
from gateway.tables import Tables, TablesUnavailable
from gateway.tables.errors import SINK_UNKNOWN, NotRepresentable

EXPORT_ROWS: Final = 20_000
"""Rows of a page of a result that is streamed: a few megabytes, of which one at a time is in memory."""
_AT_ONCE: Final = 2_000
"""Rows in memory that are put in order within the loop, in about two milliseconds; more of them in a thread."""
_SPANS: Final = (600 * 10**9, 86_400 * 10**9)
"""Ranges of time that are looked into before all of the table, ns."""
_FIRST_SPAN: Final = 10**9
"""Shortest window of time that a query of a streamed result asks for, ns."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a selection.

    Attributes:
        rows: in the selection's order.
        following: the rest of the selection; None: there is none.
        complete_from: earlier rows are in the tables only, which cannot be read now (ns); None: none is missing.
        complete_until: later rows may be missing, because the tables do not have them yet (ns); None: none is missing.
        stored: whether all of it comes from the tables, and nothing can be added to it any more.
    """

    rows: pa.Table
    following: Selection | None
    complete_from: int | None = None
    complete_until: int | None = None
    stored: bool = False


class Pages:
    """Reads pages.

    Args:
        tables: of ClickHouse.
        horizon: time (ns) up to which the tables are complete.
    """

    def __init__(self, tables: Tables, horizon: Callable[[], int]) -> None:
        self._tables = tables
        self._horizon = horizon

    async def page(self, dataset: Dataset, selection: Selection, limit: int) -> Page:
        """Return the first ``limit`` rows of ``selection``.

        Raises:
            TablesUnavailable: the tables are needed and cannot be read.
            NotRepresentable: a number does not fit its column.
        """
        return await self._page(dataset, selection, limit, partial=True)

    async def opening(self, dataset: Dataset, selection: Selection, limit: int) -> Page:
        """Return the first page of a result that is streamed, with what is missing anywhere in it.

        Raises:
            TablesUnavailable: the tables are needed and cannot be read.
            NotRepresentable: a number does not fit its column.
        """
        page = await self.page(dataset, selection, limit)
        if page.complete_until is not None or page.following is None or page.rows.num_rows < limit:
            return page
        recent = dataset.recent(selection)
        if selection.begin is not None and selection.begin > recent.since:
            return page
        return replace(page, complete_until=self._complete_until(selection, recent))

    async def _page(self, dataset: Dataset, selection: Selection, limit: int, *, partial: bool) -> Page:
        """Return a page; ``partial``: without the tables, an open range may have the rows in memory alone."""
        if not _fits(dataset, selection):
            raise RequestRefused("bad_cursor", "query cursor: not a `next` of this resource")
        recent = dataset.recent(selection)
        known: Sequence[tuple[Key, Callable[[], Row]]]
        covered = selection.begin is not None and selection.begin > recent.since
        past = self._past(selection)
        if recent.size <= _AT_ONCE:
            known = _ordered(recent, selection)
        elif past and not covered:
            known = ()  # the tables have all of it
        else:
            known = await asyncio.to_thread(_ordered, recent, selection)
        certain = [each for each in known if int(each[0][0]) > recent.since]
        if covered or (selection.descending and len(certain) > limit):
            return self._of_memory(dataset, selection, certain, limit)
        if past:
            known = ()
        until = self._complete_until(selection, recent)
        asked = selection
        if until is not None and not selection.descending:
            if until <= 0:
                raise TablesUnavailable(SINK_UNKNOWN)  # an empty page would send the client round in a circle
            # What lies beyond is answered when it is certain.
            known = [each for each in known if int(each[0][0]) < until]
            asked = Selection(selection.begin, until, selection.order, selection.filters, selection.position)
        try:
            found = await self._read(dataset, asked, limit + 1)
        except TablesUnavailable:
            if partial and selection.begin is None and selection.position is None and selection.descending:
                page = self._of_memory(dataset, selection, certain, limit)
                return Page(page.rows, None, complete_from=recent.since)
            raise
        rows = found.select(dataset.schema.names).cast(dataset.schema)
        if known:
            rows = _joined(dataset, selection, rows, _table(dataset, known[: limit + 1]))
        following = self._following(dataset, selection, rows, limit, until)
        return Page(rows.slice(0, limit), following, complete_until=until, stored=past)

    async def stream(self, dataset: Dataset, selection: Selection, first: Page, limit: int) -> AsyncIterator[pa.Table]:
        """Yield the pages of ``selection`` from ``first`` on, one at a time in memory.

        Each query asks for a window of time that is about as long as a page: otherwise it would sort all the rest.

        Args:
            dataset: its rows.
            selection: all of it.
            first: read already (:meth:`opening`), and told to the client.
            limit: rows of a page, with which ``first`` was read.

        Raises:
            TablesUnavailable: the tables cannot be read, or rows may be missing that ``first`` did not tell of.
            NotRepresentable: a number does not fit its column.
        """
        told = LAST if first.complete_until is None else first.complete_until
        page, rest, span = first, first.following, _FIRST_SPAN
        yield page.rows
        if page.rows.num_rows < limit:
            return
        while rest is not None:
            if page.rows.num_rows >= limit:
                span = max(2 * self._length(dataset, page.rows), _FIRST_SPAN)
            part, beyond = self._window(dataset, rest, span)
            page = await self._page(dataset, part, limit, partial=False)
            if page.complete_until is not None and page.complete_until < told:
                raise TablesUnavailable(f"rows after {page.complete_until // 1000} µs are not stored yet")
            yield page.rows
            if page.rows.num_rows >= limit and page.following is not None:
                rest = rest.after(page.following.position)
            elif page.complete_until is not None and not rest.descending:
                return  # what follows has been told as missing
            else:
                # The window is exhausted: the next one begins where it ends.
                rest, span = beyond, 4 * span

    def _window(self, dataset: Dataset, rest: Selection, span: int) -> tuple[Selection, Selection | None]:
        """Return the part of ``rest`` within ``span`` (ns) of its position, and what lies beyond; None: nothing."""
        if dataset.identity:
            return rest, None  # which rows there are depends on the range
        position = None if rest.position is None else int(rest.position[0])
        if rest.descending:
            last = position if position is not None else rest.end
            if last is None or last - span <= (rest.begin or 0):
                return rest, None
            return replace(rest, begin=last - span), replace(rest, end=last - span, position=None)
        first = position if position is not None else rest.begin
        # Beyond the horizon rows may still be missing: a page that reaches there ends the stream.
        if first is None or first + span >= min(self._horizon(), rest.end if rest.end is not None else LAST):
            return rest, None
        return replace(rest, end=first + span), replace(rest, begin=first + span, position=None)

    def _length(self, dataset: Dataset, rows: pa.Table) -> int:
        """Return the time between the first and the last of ``rows``, ns."""
        ends = [dataset.key_of(rows.slice(number, 1))[0] for number in (0, rows.num_rows - 1)]
        return abs(int(ends[1][0]) - int(ends[0][0]))

    async def _read(self, dataset: Dataset, asked: Selection, limit: int) -> pa.Table:
        """Return the first ``limit`` stored rows of ``asked``.

        Short ranges are tried first: a page is mostly found in one, and in all of the table ClickHouse would sort it.
        """
        for span in _SPANS:
            part = self._nearest(dataset, asked, span)
            if part is not None:
                found = await self._tables.read(*dataset.query(part, limit))
                if found.num_rows >= limit:
                    return found
        return await self._tables.read(*dataset.query(asked, limit))

    def _nearest(self, dataset: Dataset, asked: Selection, span: int) -> Selection | None:
        """Return the part of ``asked`` where a page begins, ``span`` (ns) long; None: it is not longer than that."""
        if dataset.identity:
            return None  # which rows there are depends on the range
        position = None if asked.position is None else int(asked.position[0])
        if asked.descending:
            last = position if position is not None else asked.end if asked.end is not None else self._horizon()
            return replace(asked, begin=last - span) if last - span > (asked.begin or 0) else None
        first = position if position is not None else asked.begin
        if first is None or first + span >= (asked.end if asked.end is not None else LAST):
            return None
        return replace(asked, end=first + span)

    def _of_memory(
        self, dataset: Dataset, selection: Selection, rows: Sequence[tuple[Key, Callable[[], Row]]], limit: int
    ) -> Page:
        taken = rows[:limit]
        open_ended = not selection.descending and not self._past(selection)
        following = None
        if len(rows) > limit or open_ended:
            following = selection.after(taken[-1][0] if taken else selection.position)
        return Page(_table(dataset, taken), following)

    def _following(
        self, dataset: Dataset, selection: Selection, rows: pa.Table, limit: int, until: int | None
    ) -> Selection | None:
        more = rows.num_rows > limit
        if not more and (selection.descending or (until is None and self._past(selection))):
            return None
        last = rows.slice(0, limit)
        if not last.num_rows:
            return selection
        return selection.after(dataset.key_of(last.slice(last.num_rows - 1))[0])

    def _complete_until(self, selection: Selection, recent: Recent) -> int | None:
        """Return the time after which rows may be missing: neither stored yet nor all in memory."""
        horizon = self._horizon()
        if recent.since <= horizon or (selection.end is not None and selection.end <= horizon):
            return None
        return horizon

    def _past(self, selection: Selection) -> bool:
        return selection.end is not None and selection.end <= self._horizon()


def _fits(dataset: Dataset, selection: Selection) -> bool:
    """Return whether a cursor's selection is one that this dataset makes; anyone can make one up."""
    if dataset.identity and (selection.begin is None or selection.end is None):
        return False
    if selection.position is None:
        return True
    texts = selection.position[1:]
    return len(texts) == len(dataset.key_types) and all(isinstance(text, str) for text in texts)


def _ordered(recent: Recent, selection: Selection) -> list[tuple[Key, Callable[[], Row]]]:
    return sorted(recent.rows, key=lambda each: each[0], reverse=selection.descending)


def _table(dataset: Dataset, rows: Sequence[tuple[Key, Callable[[], Row]]]) -> pa.Table:
    try:
        return pa.Table.from_pylist([make() for _, make in rows], schema=dataset.schema)
    except pa.ArrowInvalid as error:
        raise NotRepresentable(str(error)) from error


def _joined(dataset: Dataset, selection: Selection, stored: pa.Table, fresh: pa.Table) -> pa.Table:
    """Return the rows of both in order; a row that both have is taken from memory, whose revision is the later one."""
    rows = pa.concat_tables([fresh, stored])
    first: dict[Key, tuple[Key, int]] = {}
    for number, key in enumerate(dataset.key_of(rows)):
        first.setdefault(key[dataset.identity :], (key, number))
    order = [number for _, number in sorted(first.values(), reverse=selection.descending)]
    return rows.take(order)
