"""The Parquet sink and its catalogue on a bucket of S3: a local server, which fails when it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from pyarrow import fs

from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from sinks.contract import Abandoned, Commit, Span
from sinks.parquet import writer
from sinks.parquet.__main__ import run
from sinks.parquet.names import visible
from sinks.parquet.places import configured
from sinks.parquet.replay import replay
from sinks.parquet.store import StoreError
from sinks.parquet.verification import verify
from sinks.parquet.writer import ParquetTarget
from sinks.replay import Refused
from tests.fixtures.parquet_files import KEY, chunk, record, settings_at, write
from tests.fixtures.s3_server import BUCKET, VARIABLES, Request, S3Server, s3_server


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        with s3_server() as server:
            yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (0.01, 0.05))
    yield running
    running.fails = lambda _: False
    running.hangs.clear()
    running.status, running.code = "500 Internal Server Error", "InternalError"


@pytest.fixture
def settings(server: S3Server, tmp_path: Path) -> Settings:
    """Settings with a prefix of the bucket for this test alone."""
    found = settings_at(server.url(tmp_path.name))
    return found.model_copy(update={"data_dir": tmp_path})


def offsets(settings: Settings) -> list[int]:
    """Return the offsets of all rows that a reader by pattern finds."""
    system, root = fs.FileSystem.from_uri(settings.parquet.path)
    found = ds.dataset(f"{root}/{KEY.topic}", filesystem=system, format="parquet").to_table(columns=["_offset"])
    return sorted(int(offset) for offset in found.column("_offset").to_pylist() if offset is not None)


def uploads_of(number: int) -> tuple[list[Request], object]:
    """Return a list of uploads and a rule by which those from the ``number``-th on fail."""
    seen: list[Request] = []

    def fails(request: Request) -> bool:
        if request[0] == "POST" and request[2] == "uploads":
            seen.append(request)
        return len({path for _, path, _ in seen}) > number and request[0] in ("POST", "PUT")

    return seen, fails


async def opened(settings: Settings, stopping: asyncio.Event | None = None) -> ParquetTarget:
    target = ParquetTarget(settings, "life", stopping)
    await target.open()
    return target


async def test_files_go_to_the_bucket_and_uncommitted_ones_are_removed(settings: Settings) -> None:
    target = await opened(settings)
    await write(target, 0, 6, hours=2)
    await write(target, 6, 6, hours=2)
    assert target.status()["files"] == 4
    assert target.status()["place"] == settings.parquet.path.partition("?")[0]
    await target.close()
    assert offsets(settings) == list(range(12))
    after = await opened(settings)
    await after.survey([KEY])
    await after.assign({KEY: Commit(6, "")})
    assert offsets(settings) == list(range(6))
    await write(after, 6, 3)
    await after.rollback([Span(KEY, 6, 8)])
    assert offsets(settings) == list(range(6))
    await after.close()
    assert list((settings.data_dir / "parquet-drafts").iterdir()) == []


async def test_a_bucket_that_fails_half_way_is_waited_for_and_every_row_is_there_once(
    settings: Settings, server: S3Server
) -> None:
    target = await opened(settings)
    told: list[str] = []

    def waiting(reason: str) -> None:
        told.append(reason)
        server.fails = lambda _: False  # it is repaired when the sink has said what it waits for

    target.waiting = waiting
    seen, server.fails = uploads_of(1)  # type: ignore[assignment]
    await write(target, 0, 6, hours=2)
    assert len({path for _, path, _ in seen}) == 2
    place = settings.parquet.path.partition("?")[0]
    assert told[0].startswith(f"cannot use {place}/md.trades/date=2024-08-08/hour=0")
    assert "told to fail" in told[0] or "InternalError" in told[0] or "INTERNAL_FAILURE" in told[0]
    assert "not-to-be-told" not in told[0]
    assert told[-1] == ""
    assert target.status()["unreachable"] == ""
    await target.close()
    assert offsets(settings) == list(range(6))
    assert verify(configured(settings), KEY.topic, deep=True).faults == []
    assert list((settings.data_dir / "parquet-drafts").iterdir()) == []


async def test_given_up_half_way_the_next_owner_removes_what_was_uploaded(settings: Settings, server: S3Server) -> None:
    target = await opened(settings)
    await write(target, 0, 6, hours=2)
    give_up = asyncio.Event()
    target.waiting = lambda _: give_up.set()
    _, server.fails = uploads_of(1)  # type: ignore[assignment]
    await target.submit(chunk(6, 6, hours=2))
    target.seal([Span(KEY, 6, 11)])
    with pytest.raises(Abandoned):
        await target.write([Span(KEY, 6, 11)], recovering=False, give_up=give_up)
    await target.discard([KEY])
    assert list((settings.data_dir / "parquet-drafts").iterdir()) == []
    server.fails = lambda _: False
    assert len(offsets(settings)) == 9  # one of the two files
    await target.survey([KEY])
    await target.assign({KEY: Commit(6, "")})
    assert offsets(settings) == list(range(6))
    await write(target, 6, 6, hours=2)
    await target.close()
    assert offsets(settings) == list(range(12))
    assert verify(configured(settings), KEY.topic).faults == []


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [("403 Forbidden", "AccessDenied", "ACCESS_DENIED"), ("404 Not Found", "NoSuchBucket", "NO_SUCH_BUCKET")],
)
async def test_what_needs_a_person_is_told_at_once(
    settings: Settings, server: S3Server, status: str, code: str, reason: str
) -> None:
    target = await opened(settings)
    server.status, server.code = status, code
    server.fails = lambda request: request[0] in ("POST", "PUT")
    with pytest.raises(StoreError, match=rf"^parquet.path: cannot use s3://{BUCKET}/.*parquet: .*({reason})"):
        await write(target, 0, 6)
    await target.close()
    assert list((settings.data_dir / "parquet-drafts").iterdir()) == []


async def test_asked_to_stop_while_the_bucket_is_away_at_the_start(settings: Settings, server: S3Server) -> None:
    server.fails = lambda _: True
    stopping = asyncio.Event()
    target = ParquetTarget(settings, "life", stopping)
    target.waiting = lambda _: stopping.set()
    with pytest.raises(writer.Unreachable, match=r"^parquet.path: cannot use s3://"):
        await target.open()
    await target.close()


async def test_compaction_and_retention_of_a_bucket(
    settings: Settings, server: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await opened(settings)
    for first in range(0, 18, 6):
        await write(target, first, 6, hours=2)
    await target.close()
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(settings.data_dir))
    at = ("--path", settings.parquet.path)
    assert run(["compact", *at]) == 2
    assert "a bucket cannot exchange files at one instant" in capsys.readouterr().err

    # Killed after it uploaded the new files: readers that go by the names see each row once.
    store = configured(settings)
    monkeypatch.setattr(type(store), "settle", lambda *_: None)
    assert run(["compact", *at, "--grace", "0"]) == 0
    kept, replaced = visible(store.files(KEY.topic))
    assert (len(kept), len(replaced)) == (4, 4)
    assert len(offsets(settings)) == 18 + 12
    capsys.readouterr()
    assert run(["ls", *at, "--paths"]) == 0
    system, _ = fs.FileSystem.from_uri(settings.parquet.path)
    paths = [line.removeprefix("s3://") for line in capsys.readouterr().out.splitlines()]
    assert ds.dataset(paths, filesystem=system, format="parquet").count_rows() == 18
    assert verify(store, KEY.topic, deep=True).faults == []
    monkeypatch.undo()

    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(settings.data_dir))
    assert run(["compact", *at, "--grace", "0"]) == 0
    assert offsets(settings) == list(range(18))
    capsys.readouterr()
    assert run(["verify", *at, "--deep", "--json"]) == 0
    (topic,) = json.loads(capsys.readouterr().out)["topics"]
    assert (topic["files"], topic["rows"], topic["replaced"]) == (4, 18, 0)
    assert run(["retain", *at, "--max-age", "1h"]) == 0
    assert configured(settings).files(KEY.topic) == []
    assert run(["verify", *at]) == 0


SINK = """
import asyncio, sys
from alphapulse.config import ParquetSettings, Settings
from tests.fixtures.parquet_files import write
from sinks.parquet.writer import ParquetTarget
async def main():
    settings = Settings(data_dir=sys.argv[1], parquet=ParquetSettings(path=sys.argv[2]))
    target = ParquetTarget(settings, "life")
    await target.open()
    await write(target, 0, 6, hours=2)
asyncio.run(main())
"""


async def test_a_sink_killed_during_an_upload_leaves_no_part_of_a_file(settings: Settings, server: S3Server) -> None:
    seen, server.fails = uploads_of(1)  # type: ignore[assignment]
    server.hangs.set()
    arguments = [sys.executable, "-c", SINK, str(settings.data_dir), settings.parquet.path]
    process = await asyncio.to_thread(subprocess.Popen, arguments, env=os.environ | VARIABLES)
    try:
        async with asyncio.timeout(60):
            while len({path for _, path, _ in seen}) < 2:
                assert process.poll() is None
                await asyncio.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    server.fails = lambda _: False
    server.hangs.clear()
    drafts = settings.data_dir / "parquet-drafts"
    assert len(list(drafts.iterdir())) == 2
    after = await opened(settings)
    assert list(drafts.iterdir()) == []
    assert len(offsets(settings)) == 3  # the one whole file, not committed
    await after.survey([KEY])
    await after.assign({KEY: Commit(0, "")})
    await write(after, 0, 6, hours=2)
    await after.close()
    assert offsets(settings) == list(range(6))


@pytest.mark.parametrize(
    ("path", "reason"),
    [("fsspec+nowhere://bucket/x", "fsspec|nowhere"), ("s3://bucket/x?colour=red", "colour")],
)
def test_a_url_that_cannot_be_used_is_named(tmp_path: Path, path: str, reason: str) -> None:
    settings = settings_at(path).model_copy(update={"data_dir": tmp_path})
    with pytest.raises(ServiceError, match=rf"^parquet.path: {path.partition('?')[0].replace('+', '.')}: .*({reason})"):
        configured(settings)


async def test_an_object_that_its_writer_has_taken_back_since_the_survey_is_no_error(settings: Settings) -> None:
    former, owner = ParquetTarget(settings, "life"), ParquetTarget(settings, "life")
    await former.open()
    await write(former, 0, 3)
    await owner.survey([KEY])
    await former.rollback([Span(KEY, 0, 2)])
    assert await owner.assign({KEY: Commit(0, "")}) == {}
    assert owner.status()["uncommitted_files_removed"] == 0
    await former.close()
    await owner.close()


async def test_rows_of_dead_letters_join_an_object_in_its_place(settings: Settings) -> None:
    target = ParquetTarget(settings, "life")
    await target.open()
    await write(target, 0, 5)
    await target.close()
    late = [(Refused(KEY.topic, KEY.partition, offset, b""), record(offset)) for offset in (5, 6)]
    # The range of the file ends before: as if its last two records had been refused.
    store = configured(settings)
    store.open()
    (file,) = store.files(KEY.topic)
    system, root = fs.FileSystem.from_uri(settings.parquet.path)
    system.move(f"{root}/{file.path}", f"{root}/{file.path.replace('-0-4.', '-0-6.')}")
    for stored, present in ((2, 0), (0, 2)):
        outcome = replay(store, "life", {KEY.topic: late})
        assert (len(outcome.stored), len(outcome.present)) == (stored, present)
    assert offsets(settings) == list(range(7))
    assert len(store.files(KEY.topic)) == 1
