"""What a supervisor hands to its children is what they load."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from alphapulse import config
from alphapulse.config import Settings, environment, load

# What a variable can hold: no NUL, nothing the file system's encoding cannot write.
text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
ports = st.integers(0, 65535)
symbols = st.lists(st.from_regex(r"[A-Z0-9]{1,6}-[A-Z]{3,4}", fullmatch=True), max_size=3, unique=True).map(tuple)
urls = st.from_regex(r"[a-z][a-z0-9.-]{0,9}[a-z](:[1-9][0-9]{0,3})?(/[a-z0-9]{0,5})?", fullmatch=True)
seconds = st.floats(min_value=0.001, max_value=1e6)
flags = st.booleans()


def sections(kind: type[config.Section], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any of a section's keys set, the others left alone."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


venues = sections(
    config.VenueSettings,
    enabled=flags,
    symbols=symbols,
    websocket_url=st.one_of(st.none(), urls.map("wss://{}".format)),
    rest_url=st.one_of(st.none(), urls.map("http://{}".format)),
    depth=st.one_of(st.none(), st.integers(1, 10_000)),
    taker_fee_basis_points=st.decimals(0, 1000, places=3, allow_nan=False),
)

settings = st.fixed_dictionaries(
    {},
    optional={
        "data_dir": text.filter(lambda path: path not in ("", ".")).map(Path),
        "kafka": sections(
            config.KafkaSettings,
            bootstrap=st.from_regex(r"[a-z][a-z0-9.-]{0,20}:[1-9][0-9]{0,3}(,[a-z]:9092)?", fullmatch=True),
            incarnation=text,
            security_protocol=st.sampled_from(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
            sasl_username=text,
            sasl_password=text,
            ssl_cafile=st.one_of(st.none(), text.map(Path)),
            request_timeout_ms=st.integers(1000, 10**9),
        ),
        "registry": sections(config.RegistrySettings, url=st.one_of(st.none(), urls.map("https://{}".format))),
        "ops": sections(config.OpsSettings, host=text, port=ports, stop_with_parent=flags),
        "log": sections(config.LogSettings, level=st.sampled_from(["DEBUG", "ERROR"]), format=st.just("json")),
        "publisher": sections(config.PublisherSettings, max_in_flight=st.integers(1, 10**6)),
        "processors": sections(
            config.ProcessorSettings,
            group=text.filter(bool),
            candle_intervals_s=st.lists(st.integers(1, 10**6), max_size=4, unique=True).map(tuple),
            checkpoint_interval_s=seconds,
            arbitrage_min_net_basis_points=st.floats(-1e6, 1e6),
        ),
        "clickhouse": sections(config.ClickHouseSettings, dsn=text, batch_seconds=seconds),
        "gateway": sections(config.GatewaySettings, port=ports, allowed_origins=st.lists(text, unique=True).map(tuple)),
        "venues": st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), venues, max_size=3),
    },
)


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(config.PREFIX)}


def made(values: dict[str, Any]) -> Settings:
    with mock.patch.dict(os.environ, clean(), clear=True):
        return Settings(**values)


@given(settings)
def test_the_environment_carries_everything(values: dict[str, Any]) -> None:
    original = made(values)
    with mock.patch.dict(os.environ, clean() | environment(original), clear=True):
        assert load() == original


@given(settings)
def test_no_secret_is_shown(values: dict[str, Any]) -> None:
    values["kafka"] = config.KafkaSettings(sasl_password="hunter2" * 3)
    original = made(values)
    assert "hunter2" not in repr(original) + str(original) + original.model_dump_json()


def test_a_fee_keeps_its_digits() -> None:
    fee = config.VenueSettings(taker_fee_basis_points=Decimal("9.50"))
    assert environment(made({"venues": {"binance_us": fee}}))["ALPHAPULSE_VENUES"] == (
        '{"binance_us": {"taker_fee_basis_points": "9.50"}}'
    )
