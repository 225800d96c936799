"""Records that a file makes, without any target."""

from __future__ import annotations

from pathlib import Path

from schemas.records import L2Update, Record, Trade
from sinks.load.faults import Fault
from sinks.load.symbols import Symbols
from sinks.load.topics import records_of
from sinks.load.unit import Counts, Survey, Unit

RULES = Symbols(None, {}, None)
"""Shared: each venue's rules are asked once for a name."""


def made(
    path: Path, *, block_bytes: int = 1 << 16, symbols: Symbols | None = None
) -> tuple[list[Record], Survey, Counts, list[Fault]]:
    unit = Unit(path, symbols or RULES, block_bytes)
    survey = unit.survey(lambda *_: None)
    counts, faults = Counts(), list[Fault]()
    kind = Trade if survey.format.topic == "md.trades" else L2Update
    records = [
        record
        for batch in unit.batches(survey, counts, faults.append, lambda _: None)
        for record in records_of(kind, batch)
    ]
    return records, survey, counts, faults


def trades(path: Path, block_bytes: int = 1 << 16) -> list[Trade]:
    records, *_ = made(path, block_bytes=block_bytes)
    return [record for record in records if isinstance(record, Trade)]


def updates(path: Path, block_bytes: int = 1 << 16) -> list[L2Update]:
    records, *_ = made(path, block_bytes=block_bytes)
    return [record for record in records if isinstance(record, L2Update)]
