"""Dead letters on the embedded broker, with the real sink: listed, replayed, killed in mid-replay, dropped."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from alphapulse import topics
from alphapulse.config import KafkaSettings, Settings, environment
from alphapulse.kafka import incarnation, producer, running
from schemas.codec import Codec
from schemas.records import TOPIC_OF, DeadLetter, key_of
from sinks.clickhouse.database import query
from sinks.dead_letters.__main__ import main
from tests.fixtures import live_files
from tests.fixtures.records import trade
from tests.fixtures.sink_process import Process, until

LETTERS = 60
KILLS = 2
"""The second is in a replay that goes on where one that was killed had ended, as any later one would be."""
CODEC = Codec()
STORED = "SELECT count(), uniqExact(_incarnation, _partition, _offset) FROM trades FORMAT TSV"


@pytest.fixture
def settings(kafka: KafkaSettings, tmp_path: Path) -> Settings:
    base = Settings(data_dir=tmp_path, kafka=kafka)
    quick = {"batch_seconds": 0.2}
    update = {"clickhouse": base.clickhouse.model_copy(update=quick), "parquet": base.parquet.model_copy(update=quick)}
    return base.model_copy(update=update)


@pytest.fixture
def sink(settings: Settings) -> Iterator[Process]:
    made = Process("clickhouse", settings)
    yield made
    made.kill()
    made.log.close()


def started(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sinks.dead_letters", *arguments],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def dlq(settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """A function that runs a command without a process of its own, where nobody is to kill it.

    It returns exit code, output and messages.
    """
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    async def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = await asyncio.to_thread(main, arguments)
        return code, *capfd.readouterr()

    return run


async def dlq_process(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """Run a command in a process of its own; return exit code, output and messages."""
    process = started(settings, *arguments)
    out, err = await asyncio.to_thread(process.communicate, timeout=120)
    return process.returncode, out, err


async def publish(settings: Settings) -> list[DeadLetter]:
    """Publish trades with records in between that no sink can read, and letters of what these should have been.

    As if a newer release had written them, and the sink that refused them had been updated since.
    """
    letters: list[DeadLetter] = []
    async with running(producer(settings.kafka, client_id="test"), settings.kafka) as writer:
        for number in range(LETTERS):
            good = trade(number)
            await writer.send(topics.TRADES, CODEC.encode(good), key=key_of(good))
            late = replace(good, trade_id=f"late-{number}")
            sent = await writer.send_and_wait(topics.TRADES, b"\0\0\0\0\7?", key=key_of(late))
            letters.append(
                DeadLetter(
                    time=late.received_time,
                    service="sink-clickhouse" if number % 2 else "processors",
                    source=topics.TRADES,
                    partition=sent.partition,
                    offset=sent.offset,
                    key=key_of(late),
                    value=CODEC.encode(late),
                    error="RecordRefused",
                    reason="written with a schema of tomorrow",
                )
            )
        frame = replace(
            letters[0], source="wss://venue", partition=None, offset=None, value=b"{", reason="tomorrow's frame"
        )
        for letter in (*letters, *letters[:5], frame):  # several services refuse the same record
            await writer.send_and_wait(TOPIC_OF[DeadLetter], CODEC.encode(letter), key=key_of(letter))
    return letters


def counted(settings: Settings) -> tuple[int, int]:
    """Return rows of trades and distinct places."""
    answer = b"".join(query(settings.data_dir, settings.clickhouse.database, STORED, "TSV")).split()
    return int(answer[0]), int(answer[1])


def grown(process: subprocess.Popen[str], count: Callable[[], int], least: int) -> bool:
    """Whether so much is stored, or the process has ended before."""
    return count() >= least or process.poll() is not None


async def rows(settings: Settings) -> tuple[int, int]:
    return await asyncio.to_thread(counted, settings)


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_a_replay_that_is_killed_and_repeated_doubles_nothing(
    settings: Settings, sink: Process, dlq: Command
) -> None:
    sink.start()
    await until(lambda: sink.status().get("partitions", 0) > 0, "the sink starts")
    await publish(settings)
    await until(lambda: sink.status().get("records", 0) >= 2 * LETTERS and sink.status()["lag"] == 0, "all is read")
    assert await rows(settings) == (LETTERS, LETTERS)

    # The sink dies in the middle of a replay.
    for _ in range(KILLS):
        before = (await rows(settings))[0]
        replaying = started(settings, "replay", "--reason", "TOMORROW")
        await until(partial(grown, replaying, lambda: counted(settings)[0], before + 1), "it stores rows")
        sink.kill()
        await asyncio.to_thread(replaying.communicate, timeout=120)
        found, distinct = await rows(settings)
        assert found == distinct
        sink.start()
        await until(lambda: sink.status().get("partitions", 0) > 0, "the sink starts again")

    code, _, err = await dlq("replay", "--reason", "tomorrow")
    assert "wss://venue, not a record of a topic: it cannot be replayed" in err
    assert code == 1
    assert await rows(settings) == (2 * LETTERS, 2 * LETTERS)
    for _ in range(2):  # again, those that are done as well
        code, _, err = await dlq("replay", "--reason", "tomorrow", "--source", "md.trades", "--all")
        assert (code, err.splitlines()[-1]) == (0, f"0 rows stored, {LETTERS} were there already, 0 not replayed")
    assert await rows(settings) == (2 * LETTERS, 2 * LETTERS)
    assert sink.stop() == 0


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_it_opens_the_folder_itself_and_is_killed_there(settings: Settings, sink: Process) -> None:
    sink.start()
    await until(lambda: sink.status().get("partitions", 0) > 0, "the sink starts")
    letters = await publish(settings)
    await until(lambda: sink.status().get("records", 0) >= 2 * LETTERS and sink.status()["lag"] == 0, "all is read")
    assert sink.stop() == 0
    parts = settings.data_dir / "clickhouse" / "store"

    def size() -> int:
        return live_files.count(parts, "*.bin", "data.*")

    for _ in range(KILLS):
        before = size()
        replaying = started(settings, "replay", "--reason", "tomorrow", "--source", "md.trades")
        await until(partial(grown, replaying, size, before + 5), "it stores rows")
        replaying.kill()
        await asyncio.to_thread(replaying.communicate, timeout=120)
        found, distinct = await rows(settings)
        assert found == distinct
    code, _, err = await dlq_process(settings, "replay", "--reason", "tomorrow", "--source", "md.trades", "--all")
    assert (code, err.splitlines()[-1][-15:]) == (0, " 0 not replayed")
    assert await rows(settings) == (2 * LETTERS, 2 * LETTERS)
    text = "SELECT trade_id FROM trades WHERE _offset = {offset:Int64} AND _partition = {partition:Int32} FORMAT TSV"
    for number in (0, LETTERS - 1):
        place = {"offset": str(letters[number].offset), "partition": str(letters[number].partition)}
        answer = await asyncio.to_thread(
            lambda of: b"".join(query(settings.data_dir, settings.clickhouse.database, text, "TSV", of)), place
        )
        assert answer.decode() == f"late-{number}\n"


async def read_by(sink: Process, records: int) -> None:
    await until(lambda: sink.status().get("records", 0) >= records and sink.status()["lag"] == 0, "all is read")


def in_files(settings: Settings) -> tuple[int, int]:
    """Return rows of trades in the Parquet files and distinct places."""
    found = ds.dataset(settings.data_dir / "parquet" / "md.trades", format="parquet").to_table()
    places = {(row["_partition"], row["_offset"]) for row in found.to_pylist()}
    return found.num_rows, len(places)


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_files_get_their_rows_too_whoever_is_killed(settings: Settings, dlq: Command) -> None:
    sink = Process("parquet", settings)
    try:
        sink.start()
        await publish(settings)
        await publish(settings)  # so that files reach beyond all letters of the first half
        await read_by(sink, 4 * LETTERS)
        assert in_files(settings) == (2 * LETTERS, 2 * LETTERS)
        drafts = settings.data_dir / "parquet" / ".work"
        for _ in range(KILLS):
            replaying = started(settings, "replay", "--to", "parquet", "--reason", "tomorrow", "--source", "md.trades")
            await until(partial(grown, replaying, lambda: len(list(drafts.glob("*replay*.tmp"))), 1), "it writes")
            replaying.kill()
            sink.kill()
            await asyncio.to_thread(replaying.communicate, timeout=120)
            found, distinct = in_files(settings)
            assert found == distinct
            sink.start()
            await until(lambda: sink.status().get("partitions", 0) > 0, "the sink starts again")
        code, _, err = await dlq("replay", "--to", "parquet", "--reason", "tomorrow", "--source", "md.trades")
        assert [line for line in err.splitlines()[:-1] if "no file of its partition reaches so far" not in line] == []
        left = len(err.splitlines()) - 1
        assert code == min(left, 1)
        assert in_files(settings) == (4 * LETTERS - left, 4 * LETTERS - left)
        for _ in range(2):
            code, _, err = await dlq(
                "replay", "--to", "parquet", "--reason", "tomorrow", "--source", "md.trades", "--all"
            )
            assert err.splitlines()[-1] == (
                f"0 rows stored, {2 * LETTERS - left} were there already, {left} not replayed"
            )
        assert in_files(settings) == (4 * LETTERS - left, 4 * LETTERS - left)
        (settings.data_dir / "clickhouse").mkdir()
        code, _, err = await dlq(
            "replay", "--to", "clickhouse", "--reason", "tomorrow", "--source", "md.trades", "--all"
        )
        assert (code, err.count("the sink may still read it (its group alphapulse-sink-clickhouse has")) == (1, 120)
        assert sink.stop() == 0
        assert list(settings.data_dir.rglob("*.tmp")) == []
    finally:
        sink.kill()
        sink.log.close()


async def test_letters_are_listed_shown_and_dropped(settings: Settings, dlq: Command) -> None:
    letters = await publish(settings)
    code, out, err = await dlq("list", "--json", "--service", "processors", "--reason", "tomorrow")
    assert (code, err) == (0, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert len(told) == LETTERS // 2 + 3 + 1
    assert {one["service"] for one in told} == {"processors"}
    assert told == sorted(told, key=lambda one: int(one["time"]))
    first = next(one for one in told if one["offset"] == str(letters[0].offset))
    assert first["reason"] == "written with a schema of tomorrow"

    code, out, err = await dlq("show", first["id"])
    assert (code, err) == (0, "")
    assert "reason     written with a schema of tomorrow" in out
    assert "now        Trade(venue='kraken'" in out

    day = "2100-01-01"
    assert (await dlq("list", "--since", day))[1:] == ("", "0 dead letters\n")
    until_then = await dlq("list", "--until", day)
    assert until_then[2] == f"{LETTERS + 6} dead letters\n"

    assert await dlq("drop", first["id"]) == (0, "", "1 dead letters dropped\n")
    assert (await dlq("list"))[2] == f"{LETTERS + 5} dead letters\n"
    code, out, _ = await dlq("list", "--all", first["id"])
    assert (code, "(dropped)" in out) == (0, True)

    for arguments, wrong in (
        (["drop"], "drop: name letters (ID) or a filter; --all means every one"),
        (["show", "x"], "'x': not the id of a dead letter (partition/offset, as dlq list shows it)"),
        (["show", "0/999999"], "no dead letter 0/999999 on dlq"),
        (
            ["list", "--since", "soon"],
            "--since: 'soon' is not a time such as 2026-01-31, 2026-01-31T12:00:00.5Z or -15m",
        ),
        (["replay"], f"{settings.data_dir / 'clickhouse'}: no database there; run the ClickHouse sink first"),
        (["replay", "--to", "parquet"], f"{settings.data_dir / 'parquet'}: no files there; run the Parquet sink first"),
    ):
        assert await dlq(*arguments) == (2, "", f"alphapulse dlq: {wrong}\n")
    assert await incarnation(settings.kafka)
