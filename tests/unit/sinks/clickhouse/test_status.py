"""What `alphapulse clickhouse status` prints, by the width of the terminal."""

from __future__ import annotations

import pytest

from sinks.clickhouse.retention import TableTtl
from sinks.clickhouse.status import Status, Stored
from sinks.clickhouse.tables import Applied, Table

TIME = "2026-11-29 16:31:43.123456789"
TABLES = {
    "l2": Stored(123_456_789, 45_678_900_000, 321, TIME, TIME),
    "dead_letters": Stored(),
}


@pytest.fixture
def status() -> Status:
    """A large table and an empty one."""
    return Status(
        migrations=Applied([], [], []),
        missing=[],
        columns=[],
        ttls=[TableTtl(f"md.{name}", Table(name, "received_time"), "", 0, 0, daily=True) for name in TABLES],
        stored=TABLES,
        mutations={},
    )


def test_without_a_terminal_it_is_one_table(status: Status) -> None:
    head, *rows = status.lines()[:3]
    assert len(head) > 80
    assert head.split() == ["table", "rows", "MB", "parts", "first", "last", "TTL,", "days", "configured"]
    assert rows[0].split()[:4] == ["l2", "123,456,789", "45,678.9", "321"]
    assert status.lines(len(head)) == status.lines()


def test_a_narrow_terminal_gets_two_tables_with_the_same_cells(status: Status) -> None:
    lines = status.lines(80)
    assert max(map(len, lines)) <= 80
    first, second = lines.index(""), lines.index("", lines.index("") + 1)
    assert first == second - first - 1 == 1 + len(TABLES)
    cells = [
        [*numbers.split(), *times.split()[1:]]
        for numbers, times in zip(lines[:first], lines[first + 1 :], strict=False)
    ]
    assert [sorted(row) for row in cells] == [sorted(line.split()) for line in status.lines()[: 1 + len(TABLES)]]
    assert lines[second + 1 :] == status.lines()[1 + len(TABLES) :]
