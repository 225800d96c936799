"""Compaction while others read, write and die; disks that are full, folders that cannot be written."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest

from alphapulse.errors import ServiceError
from sinks.contract import Commit
from sinks.parquet import compaction, local
from sinks.parquet.__main__ import run
from sinks.parquet.compaction import compact
from sinks.parquet.verification import verify
from sinks.parquet.writer import ParquetTarget
from tests.fixtures.parquet_files import HOUR, KEY, L2_KEY, filled, offsets_in, paths_in, settings_at, store_in, write
from tests.fixtures.records import START

LATER = START // HOUR + 100


def by_pyarrow(root: Path) -> int:
    count: int = ds.dataset(root / KEY.topic, format="parquet").count_rows()
    return count


def by_duckdb(root: Path) -> int:
    with duckdb.connect() as connection:
        # The sum of a column, since a count alone may come from the footers.
        row = connection.execute(f"SELECT count(_offset) FROM '{root}/{KEY.topic}/**/*.parquet'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("read", [by_pyarrow, by_duckdb])
async def test_a_reader_sees_each_row_once_while_hours_are_compacted(
    read: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query may fail because a file that it has listed is gone; it never gives a wrong number."""
    monkeypatch.setattr(local, "LISTING_SECONDS", 1.0)
    store = await filled(tmp_path, (40,) * 6, hours=12)
    seen: list[int] = []
    refused: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            try:
                seen.append(read(tmp_path))
            except (FileNotFoundError, duckdb.IOException) as error:
                refused.append(str(error))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        with store.exclusively():
            outcomes = compact(store, KEY.topic, before=LATER)
            await asyncio.to_thread(lambda: _until(lambda: len(seen) + len(refused) >= 3))
            store.settle(0.0)
    finally:
        over.set()
        reader.join()
    assert len(outcomes) == 12
    assert set(seen) == {240}
    assert all("o such file" in text or "annot open file" in text for text in refused), refused
    assert read(tmp_path) == 240
    assert len(paths_in(tmp_path)) == 24


def _until(true: Callable[[], bool]) -> None:
    while not true():
        threading.Event().wait(0.01)


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_a_compaction_killed_at_any_moment_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed when it has compacted some folders; the next one goes on, and leaves no temporary file."""
    monkeypatch.setattr(local, "LISTING_SECONDS", 1.0)
    await filled(tmp_path, (60,) * 4, keys=(KEY, L2_KEY), hours=10)
    chance = random.Random(20260301)
    command = [sys.executable, "-m", "sinks.parquet", "compact", "--path", str(tmp_path)]
    for _ in range(3):
        process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 5)):
            process.stdout.readline()
        await asyncio.sleep(chance.uniform(0.0, 0.02))
        process.kill()
        process.wait()
        process.stdout.close()
        assert offsets_in(tmp_path) == list(range(240))
    assert await asyncio.to_thread(run, ["compact", "--path", str(tmp_path)]) == 0
    assert leftovers(tmp_path) == []
    assert offsets_in(tmp_path) == list(range(240))
    assert len(paths_in(tmp_path / KEY.topic)) == 20
    for topic in (KEY.topic, L2_KEY.topic):
        assert verify(store_in(tmp_path), topic, deep=True).faults == []


def leftovers(root: Path) -> list[str]:
    return [path.name for path in (root / ".work").iterdir() if path.suffix != ".lock"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write more than ``size`` bytes to a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_sink_on_a_full_disk_names_the_file_and_keeps_what_is_committed(tmp_path: Path) -> None:
    await filled(tmp_path, (20, 20))
    target = ParquetTarget(settings_at(tmp_path), "life")
    await target.open()
    with largest_file(8_000), pytest.raises(ServiceError) as caught:
        await write(target, 40, 2_000)
    told = str(caught.value)
    assert told.startswith(f"parquet.path: cannot write {tmp_path}")
    assert os.strerror(errno.EFBIG) in told
    assert told.endswith("; files that are committed are kept, other records will be read again")
    await target.close()
    assert leftovers(tmp_path) == []
    assert offsets_in(tmp_path) == list(range(40))
    after = ParquetTarget(settings_at(tmp_path), "life")
    await after.open()
    await after.survey([KEY])
    await after.assign({KEY: Commit(40, "")})
    await write(after, 40, 2_000)
    await after.close()
    assert offsets_in(tmp_path) == list(range(2_040))


async def test_a_compaction_on_a_full_disk_leaves_all_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LISTING_SECONDS", 0.0)
    await filled(tmp_path, (400, 400, 400))
    before = paths_in(tmp_path)
    largest = max((tmp_path / path).stat().st_size for path in before)
    with largest_file(largest):
        assert await asyncio.to_thread(run, ["compact", "--path", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"cannot use {tmp_path / '.work'}" in error
    assert os.strerror(errno.EFBIG) in error
    assert "what was not finished is as it was" in error
    assert paths_in(tmp_path) == before
    assert leftovers(tmp_path) == []


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: be nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def others() -> Iterator[Path]:
    """A folder that everybody may read; only its owner may pass through pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


async def test_a_folder_that_cannot_be_written_is_named_and_can_still_be_verified(
    others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await filled(others, (20, 20, 20))
    before = paths_in(others)
    target = ParquetTarget(settings_at(others), "life")
    for folder in (others / ".work", others):
        folder.chmod(0o555)
    try:
        with unprivileged():
            with pytest.raises(
                ServiceError, match=rf"^parquet.path: cannot write {others}.*: Permission denied; files"
            ):
                await target.open()
            for action in (["compact"], ["retain", "--max-age", "1h"]):
                assert run([*action, "--path", str(others)]) == 2
                assert f"cannot use {others}" in capsys.readouterr().err
            assert run(["verify", "--path", str(others), "--deep"]) == 0
    finally:
        (others / ".work").chmod(0o755)
    await target.close()
    assert paths_in(others) == before
    assert compaction.candidates(store_in(others).files(KEY.topic), before=LATER)
