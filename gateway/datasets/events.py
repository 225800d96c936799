"""Events of all services, by their time. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from gateway.datasets.columns import key_columns
from gateway.datasets.dataset import TEXT, TIME, Column, Dataset, Recent, Row
from gateway.datasets.selection import Key, Selection
from gateway.state import MarketState
from schemas.records import Event

COLUMNS: Final = (
    Column("time", TIME, "t.time"),
    Column("service", TEXT, "t.service"),
    Column("kind", TEXT, "t.kind"),
    Column("severity", TEXT, "t.severity"),
    Column("venue", TEXT, "t.venue", nullable=True),
    Column("symbol", TEXT, "t.symbol", nullable=True),
    Column("message", TEXT, "t.message"),
    Column("details", pa.map_(pa.string(), pa.string()), "t.details"),
)
FILTERS: Final = ("venue", "symbol", "service", "kind", "severity")
DISORDER: Final = 10 * 10**9
"""Events of different services arrive in no strict order; by at most this many ns, unless a service lags."""


def events(state: MarketState, live_since: Callable[[], int]) -> Dataset:
    """Return the events that ``state`` and the table have."""
    return Dataset(
        name="events",
        columns=COLUMNS,
        table="events",
        order=(
            "t.time",
            "t.service",
            "t.kind",
            "ifNull(t.venue, '')",
            "ifNull(t.symbol, '')",
            "lower(hex(MD5(t.message)))",
        ),
        key_types=("String", "String", "String", "String", "String"),
        conditions={name: f"t.{name} = {{of_{name}:String}}" for name in FILTERS},
        key_of=_keys,
        recent=partial(_recent, state, live_since),
        once=True,
    )


def _keys(rows: pa.Table) -> list[Key]:
    keys = key_columns(rows, ("time", "service", "kind", "venue", "symbol", "message"))
    return [(*key[:-1], _digest(str(key[-1]))) for key in keys]


def _digest(message: str) -> str:
    return hashlib.md5(message.encode(), usedforsecurity=False).hexdigest()


def _recent(state: MarketState, live_since: Callable[[], int], selection: Selection) -> Recent:
    events = state.events
    since = live_since()
    if events:
        oldest = min(event.time for event in events) + DISORDER
        since = oldest if len(events) == events.maxlen else min(oldest, since)
    return Recent(_rows(list(events), selection), since)


def _rows(of: list[Event], selection: Selection) -> Iterator[tuple[Key, Callable[[], Row]]]:
    for event in of:
        if any(getattr(event, name) != value for name, value in selection.filters.items()):
            continue
        venue, symbol = event.venue or "", event.symbol or ""
        key = (event.time, event.service, event.kind, venue, symbol, _digest(event.message))
        if selection.has(key):
            yield key, partial(_row, event)


def _row(event: Event) -> Row:
    return event.__dict__ | {"details": list(event.details.items())}
