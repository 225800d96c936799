"""Queries find what they need by their indexes, as docs/clickhouse.md tells of fifty million rows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest
import pytest_asyncio

from alphapulse.config import Settings
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.library import library
from sinks.clickhouse.tables import migrate, tune
from tests.fixtures.generated_rows import Market, generate
from tests.fixtures.query_plans import QUESTIONS, Question, answer, reads, shape

pytestmark = [pytest.mark.xdist_group("sql_scale"), pytest.mark.asyncio(loop_scope="module")]

PAGE: Final = (Path(__file__).resolve().parents[4] / "docs" / "clickhouse.md").read_text(encoding="utf-8")
MARKET: Final = Market(600_000)
"""Two hours."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    made = Engine(Settings(data_dir=tmp_path_factory.mktemp("scale")))
    await made.open(asyncio.Event())
    await migrate(made)
    await tune(made)
    assert 0.9 * MARKET.rows < await generate(made, MARKET) < 1.1 * MARKET.rows
    yield made
    await made.close()


def told(name: str) -> list[str]:
    """Return the cells of a query's row on the page."""
    (row,) = re.findall(rf"^\| `{name}` \|(.*)\|$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
async def test_a_query_reads_what_the_page_says(engine: Engine, question: Question) -> None:
    plan = reads(engine, question, MARKET)
    assert plan
    *_, page = told(question.name)
    assert shape("; ".join(map(str, plan))) == shape(page), "run python -m tests.benchmarks.bench_sql --write"
    rows = pa.ipc.open_stream(answer(engine, library()[question.name].text, question.bound(MARKET))).read_all()
    assert rows.num_rows > 0


@pytest.mark.parametrize("question", [one for one in QUESTIONS if one.goal_ms is not None], ids=lambda one: one.name)
async def test_what_has_a_goal_reads_little(engine: Engine, question: Question) -> None:
    about, goal, *_ = told(question.name)
    assert about == question.about
    assert goal == str(question.goal_ms)
    for read in reads(engine, question, MARKET):
        # Of 12 instruments one, or of four symbols one; of two hours one, or the newest; a granule more for each part.
        assert read.granules[0] <= max(0.5 * read.granules[1], 16), read
