from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.errors import ServiceError
from sinks.parquet.names import parsed
from sinks.parquet.retention import NOTE, Retired, due, retire
from sinks.parquet.store import StoreError
from tests.fixtures.parquet_files import HOUR, KEY, filled, offsets_in, paths_in
from tests.fixtures.records import START

HOUR_0 = START // HOUR


async def test_the_oldest_hours_go_by_age(tmp_path: Path) -> None:
    store = await filled(tmp_path, (9,), hours=3)
    files = store.files(KEY.topic)
    now = (HOUR_0 + 3) * 3600.0
    assert [hour.hour for hour in due(files, now, max_age_s=3600.0, max_bytes=None)] == [HOUR_0]
    assert [hour.hour for hour in due(files, now, max_age_s=3599.0, max_bytes=None)] == [HOUR_0, HOUR_0 + 1]
    assert due(files, now, max_age_s=None, max_bytes=None) == []


async def test_the_oldest_hours_go_by_size_but_never_one_that_is_not_over(tmp_path: Path) -> None:
    store = await filled(tmp_path, (9,), hours=3)
    files = store.files(KEY.topic)
    size = sum(file.size for file in files)
    after = (HOUR_0 + 4) * 3600.0
    assert due(files, after, max_age_s=None, max_bytes=size) == []
    (one,) = due(files, after, max_age_s=None, max_bytes=size - 1)
    assert (one.hour, one.bytes) == (HOUR_0, files[0].size)
    assert len(due(files, after, max_age_s=None, max_bytes=1)) == 3
    during = (HOUR_0 + 1) * 3600.0 + 60
    assert len(due(files, during, max_age_s=None, max_bytes=1)) == 1


async def test_a_retired_hour_disappears_with_its_folders_and_is_noted(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6), hours=2)
    hours = due(store.files(KEY.topic), (HOUR_0 + 9) * 3600.0, max_age_s=1.0, max_bytes=None)
    for hour in hours:
        retire(store, hour)
    store.settle(0.0)
    assert paths_in(tmp_path) == []
    assert [path.name for path in (tmp_path / KEY.topic).iterdir()] == [NOTE]
    assert Retired.read(store, KEY.topic) == Retired(HOUR_0 + 2, {"life": {"0": [(0, 11)]}})
    assert [path.name for path in (tmp_path / ".work").iterdir() if path.suffix != ".lock"] == []


async def test_an_hour_that_changed_meanwhile_is_left(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5,))
    (hour,) = due(store.files(KEY.topic), (HOUR_0 + 9) * 3600.0, max_age_s=1.0, max_bytes=None)
    late = tmp_path / hour.files[0].folder / "0a1b-life-0-5-9.parquet"
    late.write_bytes((tmp_path / hour.files[0].path).read_bytes())
    with pytest.raises(FileExistsError, match="changed meanwhile"):
        retire(store, hour)
    assert offsets_in(tmp_path) == sorted([*range(5), *range(5)])


def test_ranges_are_joined() -> None:
    retired = Retired()
    for name in ("0-4", "10-14", "5-9", "20-29", "22-25"):
        file = parsed(f"md.trades/date=2024-08-08/hour=06/0a-life-2-{name}.parquet")
        assert file is not None
        retired.add([file])
    assert retired.ranges("life", 2) == [(0, 14), (20, 29)]
    assert retired.ranges("life", 3) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"before": 1}', b'{"before": "x", "removed": {}}'])
async def test_a_note_that_cannot_be_understood_is_named(tmp_path: Path, content: bytes) -> None:
    store = await filled(tmp_path, (5,))
    (tmp_path / KEY.topic / NOTE).write_bytes(content)
    with pytest.raises(ServiceError, match=r"md.trades/_retired.json is no note of retired files"):
        Retired.read(store, KEY.topic)
    assert not issubclass(ServiceError, StoreError)
