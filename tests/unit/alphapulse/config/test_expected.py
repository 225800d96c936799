"""What a key takes, in plain English: every kind of constraint, and a wrong value for every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.config import Settings, VenueSettings, load
from alphapulse.config.expected import choices, expected
from alphapulse.config.faults import leaf_fields
from alphapulse.errors import ConfigError

KEYS = [*leaf_fields(Settings), *(("venues", "kraken", name) for name in VenueSettings.model_fields)]
PYDANTIC = (
    "Input should",
    "valid integer",
    "valid number",
    "valid string",
    "dictionary",
    "unable to parse",
    "NoneType",
)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("gateway.port", "a whole number from 0 to 65535"),
        ("gateway.max_connections", "a whole number of at least 1"),
        ("publisher.broker_patience_s", "a number greater than 0"),
        ("clickhouse.batch_seconds_max", "a number greater than 0 and at most 600"),  # may be left out
        ("processors.drain_seconds", "a number from 0 to 60"),
        ("clickhouse.drain_seconds", "a number from 0 to 10"),  # a type of its own
        ("processors.arbitrage_min_net_basis_points", "a number"),
        ("venues.kraken.taker_fee_basis_points", "a number from 0 to 1000"),  # a Decimal
        ("venues.kraken.depth", "a whole number of at least 1"),
        ("ops.follow_secrets", "true or false"),
        ("gateway.host", "text"),
        ("kafka.sasl_password", "text"),
        ("kafka.ssl_cafile", "a path"),
        ("log.format", "'auto', 'json' or 'text'"),
        ("processors.candle_intervals_s", "a list of whole numbers, such as [1, 60]"),
        ("processors.candle_intervals_s.0", "a whole number of at least 1"),
        ("clickhouse.topics", 'a list, such as ["a", "b"]'),
        ("gateway.access.trusted_proxies.0", "text"),
        ("topics.retention_hours", "a table"),
        ("topics.retention_hours.md.l2", "a number greater than 0"),
        ("clickhouse.ttl_days.md.l2", "a number from 0 to 36500"),
        ("gateway", "a table"),
        ("venues.kraken", "a table"),
    ],
)
def test_what_a_key_takes(key: str, words: str) -> None:
    parts = key.removesuffix(".md.l2").split(".") + (["md.l2"] if key.endswith(".md.l2") else [])
    assert expected(Settings, parts) == words


def test_choices() -> None:
    assert choices(["a"]) == "'a'"
    assert choices(["a", "b"]) == "'a' or 'b'"
    assert choices([1, 3, 5]) == "1, 3 or 5"


def test_an_unknown_key_has_no_words() -> None:
    with pytest.raises(LookupError):
        expected(Settings, ("gateway", "prot"))


@pytest.mark.parametrize("value", ["5", "-7.5", '"x"', "true", "[[]]", "{ x = 1 }", "2026-11-29", "inf"])
def test_no_message_has_the_words_of_a_library(tmp_path: Path, value: str) -> None:
    for key in KEYS:
        folder = tmp_path / "-".join(key)
        folder.mkdir()
        file = folder / ("exchanges.toml" if key[0] == "venues" else "services.toml")
        file.write_text(f"{'.'.join(key)} = {value}\n", encoding="utf-8")
        for fault in faults(folder):
            assert fault.startswith(f"{file}:1: key {key[0]}"), fault
            assert not any(words in fault for words in PYDANTIC), fault
            assert ": expected " not in fault or ", found " in fault


@pytest.mark.parametrize("value", ["5", "-7.5", "x", "", "[", "{}", "null", "true"])
def test_nor_has_one_about_a_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for key in KEYS:
        with monkeypatch.context() as environment:
            environment.setenv(f"ALPHAPULSE_{'__'.join(key).upper()}", value)
            for fault in faults(None):
                assert not any(words in fault for words in PYDANTIC), fault


def faults(folder: Path | None) -> list[str]:
    try:
        load(folder)
    except ConfigError as error:
        return error.faults
    return []
