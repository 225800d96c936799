"""Bad arguments and surroundings: one clear message, exit code 2, no traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.e2e.command import alphapulse

LINE = b'1618678133710263999 {"type":"snapshot","product_id":"BTC-USD","bids":[["1","1"]],"asks":[["2","1"]]}\n'


def test_an_absent_recording_is_named(tmp_path: Path) -> None:
    ended = alphapulse("replay", tmp_path / "none.rec.gz", "--data-dir", tmp_path / "d")
    assert ended.code == 2
    assert f"{tmp_path / 'none.rec.gz'}: no such file" in ended.err


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "inf"])
def test_a_speed_that_is_none_is_named(speed: str, tmp_path: Path) -> None:
    ended = alphapulse("replay", tmp_path / "x.rec", "--speed", speed)
    assert ended.code == 2
    assert f"--speed: 'max' or a positive number, found '{speed}'" in ended.err


def test_a_data_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    recording = tmp_path / "coinbase.rec"
    recording.write_bytes(LINE)
    ended = alphapulse("replay", recording, "--data-dir", tmp_path)
    assert ended.code == 2
    assert "not an empty folder" in ended.err


def test_a_data_directory_that_is_not_writable_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("", encoding="utf-8")
    ended = alphapulse("demo", "--data-dir", in_the_way / "data")
    assert ended.code == 2
    assert f"data directory {in_the_way / 'data'} is not writable" in ended.err
    assert "Traceback" not in ended.err


def test_a_port_in_use_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = alphapulse("demo", "--data-dir", tmp_path / "d", "--port", str(port))
    assert ended.code == 2
    assert f"--port: 127.0.0.1:{port} is in use by another process" in ended.err
    assert "Traceback" not in ended.err
    assert not list((tmp_path / "d").glob("run/*"))


def test_a_typo_in_the_configuration_is_named_with_file_and_key(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_text('[gateway]\nprot = 8000\n\n[log]\nlevel = "LOUD"\n', encoding="utf-8")
    ended = alphapulse("--config", tmp_path, "demo", "--data-dir", tmp_path / "d")
    assert ended.code == 2
    assert "services.toml" in ended.err
    assert "gateway.prot" in ended.err
    assert "log.level" in ended.err
    assert "LOUD" in ended.err
    assert "Traceback" not in ended.err


def test_an_unknown_variable_is_named(tmp_path: Path) -> None:
    ended = alphapulse("demo", "--data-dir", tmp_path / "d", ALPHAPULSE_GATEWEY__PORT="1")
    assert ended.code == 2
    assert "ALPHAPULSE_GATEWEY__PORT" in ended.err


def test_a_venue_that_is_not_configured_is_named() -> None:
    ended = alphapulse("collect", "mtgox")
    assert ended.code == 2
    assert ended.err.startswith("alphapulse collect: 'mtgox': unknown venue; known: ")


def test_a_query_on_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    ended = alphapulse("sql", "SELECT 1", "--data-dir", tmp_path / "none")
    assert ended.code == 2
    assert str(tmp_path / "none") in ended.err
