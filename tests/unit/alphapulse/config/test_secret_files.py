from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.config import load
from alphapulse.errors import ConfigError


def test_a_file_gives_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p\u00e4ss word \n")
    monkeypatch.setenv("ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("ALPHAPULSE_KAFKA__BOOTSTRAP", "redpanda:9092")
    settings = load()
    assert settings.kafka.sasl_password.get_secret_value() == "p\u00e4ss word "
    assert settings.kafka.bootstrap == "redpanda:9092"
    secret.write_text("another")
    assert load().kafka.sasl_password.get_secret_value() == "another", "it is read each time"


def test_what_is_wrong_with_a_secret_file_is_told_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("ALPHAPULSE_CLICKHOUSE__DSN_FILE", "/dev/null")
    monkeypatch.setenv("ALPHAPULSE_CLICKHOUSE__DSN", "clickhouse://h")
    monkeypatch.setenv("ALPHAPULSE_REGISTRI__URL_FILE", "/dev/null")
    port = tmp_path / "port"
    port.write_text("many\n")
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__PORT_FILE", str(port))
    with pytest.raises(ConfigError) as raised:
        load()
    told = sorted(raised.value.faults)
    assert told[0].startswith("ALPHAPULSE_CLICKHOUSE__DSN_FILE: ALPHAPULSE_CLICKHOUSE__DSN is also set")
    assert told[1].startswith("ALPHAPULSE_GATEWAY__PORT_FILE: key gateway.port: ")
    assert told[2] == f"ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE: {tmp_path / 'none'}: No such file or directory"
    assert told[3].startswith("ALPHAPULSE_REGISTRI__URL_FILE: unknown variable")
    assert len(told) == 4


def test_a_secret_in_a_file_shows_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("clickhouse://u:c4nary@h:8123")
    monkeypatch.setenv("ALPHAPULSE_CLICKHOUSE__DSN_FILE", str(secret))
    settings = load()
    assert settings.clickhouse.dsn.endswith("h:8123")
    assert "c4nary" not in repr(settings)
