"""Tests of claims on folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alphapulse.claim import InUse, claim
from alphapulse.errors import ServiceError


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    with claim(folder), pytest.raises(ServiceError, match=f"{folder} is in use by process {os.getpid()}"):
        claim(folder)
    claim(folder).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match=r"file/data is not writable: Not a directory"):
        claim(tmp_path / "file" / "data")


def test_a_lock_beside_a_folder_leaves_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "clickhouse"
    with claim(folder, "database", beside=True):
        assert [path.name for path in tmp_path.iterdir()] == ["clickhouse.lock"]
        with pytest.raises(InUse, match=f"database {folder} is in use by process {os.getpid()}") as caught:
            claim(folder, "database", beside=True)
        assert caught.value.holder == os.getpid()
    claim(folder, "database", beside=True).close()


def test_a_lock_beside_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"database .*missing/clickhouse is not writable: No such file"):
        claim(tmp_path / "missing" / "clickhouse", "database", beside=True)
