"""Tests of claims on folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alphapulse.claim import claim
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
