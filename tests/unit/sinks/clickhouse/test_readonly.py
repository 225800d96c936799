from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse import readonly
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.readonly import QueryRefused, ask, restrict


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    await engine.command("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    await engine.command("INSERT INTO t VALUES (1)")
    made = engine.another_client()
    restrict(made)
    yield made
    made.close()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a FROM t",
        "  -- a comment\n select a from t ; ",
        "WITH 1 AS x SELECT a FROM t WHERE a = x",
        "(SELECT a FROM t) UNION ALL (SELECT 2)",
        "FROM t SELECT a",
        "SHOW TABLES",
        "DESCRIBE t",
        "EXPLAIN SELECT a FROM t",
        "EXISTS TABLE t",
        "SELECT 'INTO OUTFILE', 'it''s; \\' INTO OUTFILE' AS `into outfile`",
    ],
)
def test_reading_is_allowed(client: Client, query: str) -> None:
    assert json.loads(ask(client, query, "JSONCompact"))["rows"] >= 1


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO t VALUES (2)",
        "DROP TABLE t",
        "SELECT 1; DROP TABLE t",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "CREATE TABLE x (a Int8) ENGINE = Memory",
        "ALTER TABLE t DELETE WHERE 1",
        "TRUNCATE TABLE t",
        "OPTIMIZE TABLE t",
        "KILL QUERY WHERE 1",
        "SYSTEM FLUSH LOGS",
        "SELECT * FROM file('/etc/hostname', LineAsString)",
        "SELECT * FROM url('http://127.0.0.1:9/x', LineAsString)",
        "INSERT INTO FUNCTION file('{out}', CSV, 'a Int8') SELECT 1",
        "SELECT 1 INTO OUTFILE '{out}'",
        "select 1 into/**/outfile'{out}'",
        "SHOW TABLES INTO OUTFILE '{out}'",
        "DESCRIBE t INTO OUTFILE '{out}'",
        "EXPLAIN AST SELECT 1 INTO OUTFILE '{out}'",
        "SELECT 'a' AS `x'y` UNION ALL SELECT 'b' INTO OUTFILE '{out}'",
        "SELECT 1 PARALLEL WITH DROP TABLE t",
        "",
        "nonsense",
    ],
)
async def test_nothing_else_is(engine: Engine, client: Client, tmp_path: Path, query: str) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(QueryRefused):
        ask(client, query.replace("{out}", str(out)), "JSONCompact")
    assert not out.exists()
    assert await engine.rows("SELECT a FROM t") == [(1,)]


def test_refusals_carry_clickhouses_words(client: Client) -> None:
    with pytest.raises(QueryRefused, match="UNKNOWN_TABLE"):
        ask(client, "SELECT * FROM nothing", "CSV")
    with pytest.raises(QueryRefused, match=r"only SELECT, .* found DROP"):
        ask(client, "DROP TABLE t", "CSV")
    with pytest.raises(QueryRefused, match="UNKNOWN_FORMAT"):
        ask(client, "SELECT 1", "Nonsense")
    with pytest.raises(QueryRefused, match="format: not a format name"):
        ask(client, "SELECT 1", "CSV; DROP TABLE t")


@pytest.mark.parametrize(
    "query", ["SELECT number FROM numbers(3000000)", "SELECT repeat(toString(number), 9000) FROM numbers(100000)"]
)
def test_results_are_bounded(client: Client, query: str) -> None:
    with pytest.raises(QueryRefused, match=r"TOO_MANY_ROWS_OR_BYTES|MEMORY_LIMIT"):
        ask(client, query, "TSV")


def test_a_query_may_name_its_format(client: Client) -> None:
    assert ask(client, "SELECT a FROM t FORMAT CSV", "JSON") == b"1\n"
    assert ask(client, "select a as format from t format TSVWithNames;", "JSON") == b"format\n1\n"
    assert ask(client, "SELECT a FROM t -- FORMAT CSV", "TSV") == b"1\n"
    assert ask(client, "SELECT 'x\nFORMAT CSV', a FROM t", "TSV") == b"x\\nFORMAT CSV\t1\n"
    assert ask(client, "SELECT a FROM t FORMAT Null", "TSV") == b""
    with pytest.raises(QueryRefused, match="UNKNOWN_FORMAT"):
        ask(client, "SELECT 1 FORMAT Nonsense", "TSV")


def test_a_query_means_what_it_says(client: Client) -> None:
    """It is rewritten by the formatter before it runs."""
    for literal in (
        r"'a\\tb\n\'c'",
        "'--'",
        "'/* x */'",
        "$$a'b$$",
        "'{x}'",
        "'%s %(a)s'",
        "'ünï'",
        "0x10",
        "1e3",
        "'\t'",
    ):
        untouched = client.raw_query(f"SELECT {literal}", fmt="TSV")
        assert ask(client, f"-- c\n/* d */ select {literal} -- e", "TSV") == untouched


def test_json_rounds_nothing_in_any_reader(client: Client) -> None:
    query = (
        "SELECT toInt64(9007199254740993) AS a, [toUInt64(9007199254740995)] AS b, sum(toInt128(9007199254740997)) AS c"
        ", toDecimal128('0.1000000000000000055', 19) AS d, toInt32(5) AS e"
    )
    for form in ("JSON", "JSONEachRow", "JSONCompact", "JSONCompactEachRow", "JSONColumns"):
        answer = ask(client, query, form).decode()
        for exact in ("9007199254740993", "9007199254740995", "9007199254740997", "0.1000000000000000055"):
            assert f'"{exact}"' in answer
        assert '"5"' not in answer
    allowed = "SELECT toInt64(1) SETTINGS output_format_json_quote_64bit_integers = 1"
    assert ask(client, allowed, "JSONCompactEachRow") == b'["1"]\n'


def test_formats_are_clickhouses(client: Client) -> None:
    assert ask(client, "SELECT a FROM t", "TSV") == b"1\n"
    assert "a" in ask(client, "SELECT a FROM t", "PrettyCompact").decode()


def test_a_query_that_was_asked_is_not_checked_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = readonly._written

    def written(client: Client, query: str) -> str:
        checked.append(query)
        return real(client, query)

    monkeypatch.setattr(readonly, "_written", written)
    monkeypatch.setattr(readonly, "_known", OrderedDict())
    monkeypatch.setattr(readonly, "KNOWN", 2)
    for query in ("SELECT 1", "SELECT 1", "SELECT 2", "SELECT 1", "SELECT 3", "SELECT 1", "SELECT 2"):
        ask(client, query, "TSV")
    assert checked == ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 2"]
    for _ in range(2):
        with pytest.raises(QueryRefused, match="only SELECT"):
            ask(client, "DROP TABLE t", "TSV")
    assert checked[4:] == ["DROP TABLE t"] * 2
