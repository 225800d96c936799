from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sinks.parquet.__main__ import run, size_text
from tests.fixtures.parquet_files import KEY, L2_KEY, filled, offsets_in, paths_in

Output = pytest.CaptureFixture[str]


def told(capsys: Output, *arguments: object) -> tuple[int, str]:
    """Run the command; return its exit code and standard output, whose lines fit in 80 columns."""
    code = run([str(argument) for argument in arguments])
    out = shown = capsys.readouterr().out
    for folder in filter(os.path.isabs, map(str, arguments)):  # how long it is, is not the command's
        shown = shown.replace(folder, "")
    lines = [line for line in shown.splitlines() if ".parquet" not in line and not line.startswith("{")]
    assert max(map(len, lines), default=0) <= 80
    return code, out


def asked(capsys: Output, *arguments: object) -> tuple[int, Any]:
    code, out = told(capsys, *arguments, "--json")
    return code, json.loads(out)


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    await filled(tmp_path / "parquet", (6, 6, 6), keys=(KEY, L2_KEY), hours=2)
    return tmp_path / "parquet"


def test_ls_by_topic_and_by_hour(root: Path, capsys: Output) -> None:
    code, out = told(capsys, "ls", "--data-dir", root.parent)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["TOPIC", "FROM", "(UTC)", "TO", "PARTS", "FILES", "SMALL", "SIZE"]
    assert lines[1][:-2] == ["md.l2", "2024-08-08", "06", "2024-08-08", "06", "1", "3", "3"]
    assert lines[2][:-2] == ["md.trades", "2024-08-08", "06", "2024-08-08", "07", "1", "6", "6"]
    _, out = told(capsys, "ls", "--path", root, "--hours", "--topic", "md.trades")
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["md.trades", "2024-08-08", "06"],
        ["md.trades", "2024-08-08", "07"],
    ]
    code, found = asked(capsys, "ls", "--path", root)
    assert found["place"] == str(root)
    assert [(entry["topic"], entry["files"], entry["hours"]) for entry in found["entries"]] == [
        ("md.l2", 3, 1),
        ("md.trades", 6, 2),
    ]


def test_ls_of_paths_is_one_a_line_and_leaves_out_what_was_replaced(root: Path, capsys: Output) -> None:
    first = next(path for path in paths_in(root / "md.l2") if "-0-0-5." in path)
    whole = root / "md.l2" / first.rpartition("/")[0] / "compacted-life-0-0-11.parquet"
    whole.write_bytes((root / "md.l2" / first).read_bytes())
    _, out = told(capsys, "ls", "--path", root, "--paths", "--topic", "md.l2")
    assert len(out.splitlines()) == 2
    assert str(whole) in out.splitlines()
    assert asked(capsys, "ls", "--path", root, "--paths", "--topic", "md.l2")[1]["files"] == out.splitlines()
    _, out = told(capsys, "ls", "--path", root)
    assert "2 replaced files are not removed yet" in out


def test_compact_says_what_it_did(root: Path, capsys: Output) -> None:
    before = paths_in(root)
    code, out = told(capsys, "compact", "--path", root, "--dry-run")
    assert code == 0
    assert "md.trades/0 2024-08-08 06: 2 files, " in out
    assert "6 files would become 3" in out
    assert paths_in(root) == before
    code, out = told(capsys, "compact", "--path", root, "--topic", "md.trades")
    assert code == 0
    assert "md.trades/0 2024-08-08 07: 2 files joined, 6 rows, " in out
    assert "4 files became 2; " in out
    code, found = asked(capsys, "compact", "--path", root)
    assert [(group["topic"], group["rows"], group["left"]) for group in found["groups"]] == [("md.l2", 12, "")]
    assert told(capsys, "compact", "--path", root) == (0, "0 files became 0\n")
    assert offsets_in(root) == list(range(18))


def test_an_hour_that_is_not_settled_is_not_compacted(root: Path, capsys: Output) -> None:
    assert told(capsys, "compact", "--path", root, "--settled", f"{time.time():.0f}") == (0, "0 files became 0\n")


def test_verify_has_exit_code_1_for_faults(root: Path, capsys: Output) -> None:
    code, out = told(capsys, "verify", "--path", root, "--deep")
    assert code == 0
    assert [line.split()[::4] for line in out.splitlines()][1:] == [["md.l2", "kB"], ["md.trades", "kB"]]
    lost = next(root.joinpath("md.l2").rglob("*-0-6-11.parquet"))
    lost.unlink()
    code, out = told(capsys, "verify", "--path", root)
    assert code == 1
    assert "hole: md.l2\n  partition 0 lacks offsets 6 to 11 (life)" in out
    code, found = asked(capsys, "verify", "--path", root)
    assert (code, found["faults"]) == (1, 1)
    assert found["topics"][0]["faults"][0]["kind"] == "hole"


def test_compact_has_exit_code_1_for_files_it_left(root: Path, capsys: Output) -> None:
    broken = next(root.joinpath("md.l2").rglob("*-0-0-5.parquet"))
    broken.write_bytes(b"nothing")
    code, out = told(capsys, "compact", "--path", root)
    assert code == 1
    assert "md.l2/0 2024-08-08 06: 2 files left as they are:\n" in out
    assert "cannot be read" in out
    assert "4 files became 2" in out


def test_retain_by_age_size_and_configuration(root: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    before = paths_in(root)
    code, out = told(capsys, "retain", "--path", root, "--max-age", "1d", "--dry-run")
    assert code == 0
    assert "md.trades 2024-08-08 07: 3 files, " in out
    assert "3 hours, " in out
    assert out.endswith(" would be removed\n")
    assert paths_in(root) == before
    code, found = asked(capsys, "retain", "--path", root, "--max-age", "1d", "--topic", "md.l2")
    assert [(hour["topic"], hour["files"]) for hour in found["hours"]] == [("md.l2", 3)]
    assert {path.partition("/")[0] for path in paths_in(root)} == {"md.trades"}
    monkeypatch.setenv("ALPHAPULSE_PARQUET__KEEP_GB", "0.000000001")
    code, out = told(capsys, "retain", "--path", root)
    assert out.count("\n") == 3
    assert paths_in(root) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["retain"], "nothing limits the files: give --max-age or --max-size, or set parquet.keep_days"),
        (["retain", "--max-age", "5"], "expected an age such as 36h or 30d, found '5'"),
        (["retain", "--max-size", "0GB"], "expected a size such as 500MB or 1.5TB, found '0GB'"),
        (["compact", "--min-files", "1"], "expected a number from 2 on, found '1'"),
        (["compact", "--settled", "x"], "expected seconds, found 'x'"),
        (["ls", "--paths", "--hours"], "not allowed with argument"),
    ],
)
def test_a_wrong_argument_is_named(root: Path, capsys: Output, arguments: list[str], reason: str) -> None:
    try:
        code: object = run([*arguments, "--path", str(root)])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("s4://bucket", "must be a folder or a URL with one of file://, s3://"),
        ("s3://key:secret@bucket/x", "must not have credentials: s3:// takes them from the environment"),
        ("s3://", "must name a bucket after s3://"),
    ],
)
def test_a_wrong_url_is_named_without_its_secret(capsys: Output, path: str, reason: str) -> None:
    assert run(["ls", "--path", path]) == 2
    error = capsys.readouterr().err
    assert reason in error


def test_no_files_is_no_fault(tmp_path: Path, capsys: Output) -> None:
    for action in ("ls", "compact", "verify"):
        assert told(capsys, action, "--path", tmp_path / "none")[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_topic_that_there_is_not_is_refused(root: Path, tmp_path: Path, capsys: Output) -> None:
    for action in ("ls", "compact", "verify"):
        assert run([action, "--path", str(root), "--topic", "md.l2", "--topic", "md.trade"]) == 2
        assert "--topic: 'md.trade': unknown topic, did you mean md.trades?\n" in capsys.readouterr().err
    assert run(["verify", "--path", str(tmp_path / "none"), "--topic", "x"]) == 2
    assert "'x': unknown topic; known: dlq, md.candles" in capsys.readouterr().err
    assert told(capsys, "verify", "--path", root, "--topic", "md.depth") == (0, f"no files of md.depth in {root}\n")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert run(["ls", "--path", str(tmp_path / "loop")]) == 2
    assert f"cannot use {tmp_path / 'loop'}: Too many levels" in capsys.readouterr().err


def test_sizes_for_people() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 999_600, 1_234_567, 5 * 10**15)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1,000 kB",
        "1.23 MB",
        "5,000 TB",
    ]
    assert os.sep == "/"
