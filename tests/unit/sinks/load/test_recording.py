"""Recordings as sources of a load: what a replay of them ends with, once, in tables."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse import topics
from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from schemas.book_reader import BookReader
from schemas.records import L2Update, Trade
from sinks.clickhouse.engine import Engine
from sinks.load import recording as module
from sinks.load.__main__ import main
from sinks.load.contract import Written
from sinks.load.faults import Fault, SourceRefused
from sinks.load.progress import Shown
from sinks.load.recording import Choice, survey_recording
from sinks.load.running import Loaded, load, recordings
from sinks.load.tables import TableTarget
from sinks.load.topics import records_of
from sinks.load.unit import Counts
from tests.fixtures.lasting_engine import LastingEngine
from tests.recordings import Recording, found, ours

KINDS: dict[str, Any] = {topics.TRADES: Trade, topics.L2: L2Update}


def records(path: Path) -> tuple[dict[str, list[Any]], Counts, list[Fault]]:
    """Return the records of a recording by topic, and what became of the rest."""
    made: dict[str, list[Any]] = {}
    counts, faults = Counts(), list[Fault]()
    for unit, survey in survey_recording(path, Choice(), lambda _, __: None):
        batches = unit.batches(survey, counts, faults.append, lambda _: None)
        topic = survey.format.topic
        made[topic] = [one for rows in batches for one in records_of(KINDS[topic], rows)]
        assert len(made[topic]) + (counts.repeated if topic == topics.TRADES else 0) == survey.rows
        assert {(one.venue, one.symbol) for one in made[topic]} == {(one.venue, one.symbol) for one in survey.named}
    return made, counts, faults


@pytest.mark.parametrize("recording", found(), ids=str)
def test_records_are_those_of_a_replay(recording: Recording) -> None:
    made, _, _ = records(recording.path)
    trades = Counter(one.symbol for one in made.get(topics.TRADES, ()))
    readers: dict[str, BookReader] = defaultdict(BookReader)
    ended = set()
    for one in made.get(topics.L2, ()):
        if one.kind == "INVALID" and one is last_of(made[topics.L2], one.symbol):
            ended.add(one.symbol)
            continue
        readers[one.symbol].apply(one)
    for symbol, expected in recording.instruments.items():
        assert trades[symbol] == expected["trades"], symbol
        reader, book = readers[symbol], expected["book"]
        assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == book["sha256"], symbol
        assert (len(reader.book.bids), len(reader.book.asks)) == (book["bid_levels"], book["ask_levels"])
        assert symbol in ended or not reader.valid
    assert all(one.received_time < 2**62 for of in made.values() for one in of)


def last_of(made: list[Any], symbol: str) -> Any:
    return next(one for one in reversed(made) if one.symbol == symbol)


NO_TTL = {"md.l2": 0.0, "md.trades": 0.0}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", clickhouse=ClickHouseSettings(ttl_days=NO_TTL))


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    made = Engine(settings)
    await made.open(asyncio.Event())
    yield LastingEngine(made)
    await made.close()


async def run(settings: Settings, engine: Engine, *paths: Path, rejects: Path | None = None) -> list[Loaded]:
    shown = Shown(quiet=True)
    files = await asyncio.to_thread(recordings, paths, Choice(), shown)
    await load(files, TableTarget(settings, lambda _: None, engine), shown, rejects)
    return files


ALL = "SELECT * FROM {} ORDER BY ALL"


async def test_a_recording_loaded_twice_is_there_once(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 100)
    recording = ours("kraken")
    trades, books = await run(settings, engine, recording.path)
    assert trades.written == Written(sum(one["trades"] for one in recording.instruments.values()), 0)
    assert books.written == Written(books.survey.rows, 0)
    before = [await engine.rows(ALL.format(name)) for name in ("trades", "l2")]
    # Named otherwise and packed otherwise it is the same; the venue is told by its frames.
    other = tmp_path / "other.rec"
    other.write_bytes(gzip.decompress(recording.path.read_bytes()))
    again = await run(settings, engine, other)
    assert [one.written for one in again] == [Written(0, trades.records), Written(0, books.records)]
    assert [one.survey.id for one in again] == [trades.survey.id, books.survey.id]
    assert [await engine.rows(ALL.format(name)) for name in ("trades", "l2")] == before
    times = {int(line.split()[0]) for line in gzip.decompress(recording.path.read_bytes()).splitlines()}
    found = await engine.rows("SELECT DISTINCT toUnixTimestamp64Nano(received_time) FROM trades")
    assert {row[0] for row in found} <= times


async def test_a_bad_line_stops_the_load_or_is_left_out(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    lines = gzip.decompress(ours("kraken").path.read_bytes()).splitlines(keepends=True)
    lines[700:700] = [b"nonsense\n", lines[699].split()[0] + b' {"channel":"trade","data":[{"symbol":7}]}\n']
    path, rejects = tmp_path / "kraken_bad.rec", tmp_path / "rejects.csv"
    path.write_bytes(b"".join(lines))
    files = await run(settings, engine, path, rejects=rejects)
    assert [one.line for one in files[0].survey.faults.first] == [701, 702]
    assert files[1].survey.faults.total == 0
    assert files[0].rejects == rejects
    assert [line.split(",")[1] for line in rejects.read_text("utf-8").splitlines()[1:]] == ["701", "702"]
    assert all(one.written.stored == one.records for one in files)


def test_the_command_tells_what_it_would_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ours("kraken").path
    assert main(["recording", str(path), "--dry-run", "--data-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "trades of a recording, kraken" in told
    assert "books of a recording, kraken" in told
    torn = tmp_path / "kraken_torn.rec.gz"
    torn.write_bytes(path.read_bytes()[:-2000])
    assert main(["recording", str(torn), "--data-dir", str(tmp_path)]) == 1
    assert "nothing was loaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "venue", "reason"),
    [
        ("none.rec", None, None, "cannot be read"),
        ("empty.rec", b"", None, "the recording is empty"),
        ("kraken_x.rec.gz", b"plain", None, "is not a gzip file"),
        ("x.rec", b"1 {}\n", None, "choose one with --venue"),
        ("x.rec", b"1 {}\n", "krakn", "krakn"),
        ("kraken_quiet.rec", b'1 {"channel":"heartbeat"}\n', None, "contains no market data of kraken"),
    ],
)
def test_what_is_no_recording_is_refused(
    tmp_path: Path, name: str, content: bytes | None, venue: str | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceRefused, match=reason):
        survey_recording(tmp_path / name, Choice(venue), lambda _, __: None)


def test_a_process_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MODULE", "producers.nowhere")
    with pytest.raises(ServiceError, match=r"cannot be made: producers\.nowhere has ended with 1"):
        survey_recording(ours("kraken").path, Choice(), lambda _, __: None)


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "kraken.rec"
    text = gzip.decompress(ours("kraken").path.read_bytes())
    path.write_bytes(text)
    (unit, survey), *_ = survey_recording(path, Choice(), lambda _, __: None)
    path.write_bytes(text[: len(text) // 2].rpartition(b"\n")[0])
    with pytest.raises(SourceRefused, match="has changed"):
        list(unit.batches(survey, Counts(), lambda _: None, lambda _: None))
