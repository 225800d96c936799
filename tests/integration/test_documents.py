"""The blocks of commands in the documents that are marked ``<!-- run -->``, as they stand."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.documents import ROOT, documents
from tests.documents.blocks import Block, blocks

pytestmark = pytest.mark.unmeasured

MARKED: Final = [
    pytest.param(block, id=f"{block.path.stem}-{number}")
    for path in documents()
    for number, block in enumerate(blocks(path))
    if block.runnable and block.marker is not None and block.marker.as_it_stands
]
BOUND: Final = 150.0


@pytest.mark.parametrize("block", MARKED)
async def test_it_runs_as_it_is_typed(block: Block, tmp_path: Path) -> None:
    """In a folder that looks like the repository, so that what it writes lands elsewhere."""
    assert block.language == "sh", block.place
    for name in ("deploy", "recordings", "schemas"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-e", "-c", "\n".join(block.commands())),
        cwd=tmp_path,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND):
        out, err = await shell.communicate()
    assert shell.returncode == 0, f"{block.place}: {err.decode()}"
    assert out, block.place
