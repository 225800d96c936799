"""``alphapulse dlq``: its arguments, and what it says where there is no broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from sinks.dead_letters.__main__ import main, parser


@pytest.mark.parametrize("arguments", [["--data-dir", "x", "list"], ["list", "--data-dir", "x"]])
def test_the_folder_stands_before_or_after_the_command(arguments: list[str]) -> None:
    assert parser().parse_args(arguments).data_dir == Path("x")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "replay"):
        assert main([command, "--data-dir", str(tmp_path / "none")]) == 2
        assert capsys.readouterr().err == f"alphapulse dlq: --data-dir: {tmp_path / 'none'}: no such folder\n"


def test_a_broker_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALPHAPULSE_KAFKA__BOOTSTRAP", "127.0.0.1:1")
    for since in (["--since", "-2h"], ["--since=-2h"], []):
        assert main(["list", *since]) == 2
        told = capsys.readouterr().err
        assert told == "alphapulse dlq: kafka.bootstrap: 127.0.0.1:1 does not answer: connection refused\n"
