from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alphapulse.errors import ServiceError
from producers.collector.holder import Holder

LIVE = """
import sys
from pathlib import Path
from producers.collector.holder import Holder
holder = Holder(Path(sys.argv[1]), "collector-kraken")
print(holder.name, flush=True)
sys.stdin.read()
"""


def test_a_killed_process_is_known_to_be_dead_on_its_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Holder(tmp_path, "collector-kraken")
    with subprocess.Popen(
        [sys.executable, "-c", LIVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert not holder.is_dead(name)
        other.kill()
        other.wait()
        assert holder.is_dead(name)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("producers.collector.holder._machine", lambda: "another machine")
            assert not holder.is_dead(name)
    assert not holder.is_dead(holder.name)
    assert not holder.is_dead("collector-kraken@unknown-1-abc")
    assert not holder.is_dead("../outside")
    holder.clean_up()
    assert [path.name for path in (tmp_path / "run" / "collectors").iterdir()] == [f"{holder.name}.lock"]
    holder.close()
    assert not list((tmp_path / "run" / "collectors").iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ServiceError, match=r"data_dir: .*run/collectors is not writable: Not a directory"):
        Holder(tmp_path, "collector-kraken")
