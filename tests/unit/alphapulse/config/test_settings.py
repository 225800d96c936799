"""Configuration: precedence, every fault at once with its place, secrets that never show."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from alphapulse import config
from alphapulse.config import Settings, VenueSettings, environment, load
from alphapulse.config.faults import leaf_fields
from alphapulse.config.toml_lines import key_lines
from alphapulse.errors import ConfigError

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)


def written(folder: Path, services: str = "", exchanges: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "services.toml").write_text(services, encoding="utf-8")
    (folder / "exchanges.toml").write_text(exchanges, encoding="utf-8")
    return folder


def faults(folder: Path | None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return caught.value.faults


def test_defaults_need_no_file() -> None:
    assert load() == Settings()
    assert load().kafka.bootstrap == "127.0.0.1:9092"


def test_an_empty_folder_gives_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings()


def test_both_files_are_read(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        'data_dir = "/srv/alphapulse"\n[kafka]\nbootstrap = "redpanda:9092"\n',
        '[venues.kraken]\nsymbols = ["BTC-USD"]\ntaker_fee_basis_points = "40"\n',
    )
    settings = load(folder)
    assert settings.data_dir == Path("/srv/alphapulse")
    assert settings.kafka.bootstrap == "redpanda:9092"
    assert settings.venues == {"kraken": VenueSettings(symbols=("BTC-USD",), taker_fee_basis_points=Decimal(40))}


def test_the_folder_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAPULSE_CONFIG", str(written(tmp_path, "[gateway]\nport = 9000\n")))
    assert load().gateway.port == 9000


def test_the_environment_beats_the_files_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(
        tmp_path,
        '[kafka]\nbootstrap = "file:1"\ncompression = "gzip"\n',
        '[venues.binance_us]\nsymbols = ["BTC-USD"]\ndepth = 100\n',
    )
    monkeypatch.setenv("ALPHAPULSE_KAFKA__BOOTSTRAP", "variable:2")
    monkeypatch.setenv("ALPHAPULSE_VENUES__BINANCE_US__DEPTH", "500")
    monkeypatch.setenv("ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S", "[5, 300]")
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", "/elsewhere")
    settings = load(folder)
    assert (settings.kafka.bootstrap, settings.kafka.compression) == ("variable:2", "gzip")
    assert settings.venues["binance_us"] == VenueSettings(symbols=("BTC-USD",), depth=500)
    assert settings.processors.candle_intervals_s == (5, 300)
    assert settings.data_dir == Path("/elsewhere")


def test_a_whole_section_may_come_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAPULSE_GATEWAY", '{"host": "0.0.0.0", "port": 81}')
    assert (load().gateway.host, load().gateway.port) == ("0.0.0.0", 81)


def test_every_fault_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(
        tmp_path,
        '[kafka]\nbootstrapp = "a:1"\n\n[gateway]\nport = 70000\nhost = 5\n',
        "[venues.kraken]\n"
        'symbols = ["BTC-USD", "btc/usd"]\n'
        "taker_fee_basis_points = -1\n"
        "[venues.Coinbase]\nenabled = true\n"
        "[venue.binance]\n",
    )
    monkeypatch.setenv("ALPHAPULSE_LOG__LEVEL", "LOUD")
    monkeypatch.setenv("ALPHAPULSE_GATEWEY__PORT", "1")
    services, exchanges = folder / "services.toml", folder / "exchanges.toml"
    assert sorted(faults(folder)) == sorted(
        [
            f"{services}:2: key kafka.bootstrapp: unknown key, did you mean bootstrap?",
            f"{services}:5: key gateway.port: expected a whole number from 0 to 65535, found 70000",
            f"{services}:6: key gateway.host: expected text, found 5",
            (
                f"{exchanges}:2: key venues.kraken.symbols.1: not a canonical symbol: 'btc/usd' "
                "(BASE-QUOTE in capitals, or a ticker), did you mean BTC-USD?, found 'btc/usd'"
            ),
            (f"{exchanges}:3: key venues.kraken.taker_fee_basis_points: expected a number from 0 to 1000, found -1"),
            (f"{exchanges}:4: key venues.Coinbase: not a venue name: 'Coinbase' (lower-case letters, digits and _)"),
            f"{exchanges}:6: key venue: unknown key, did you mean venues?",
            "ALPHAPULSE_LOG__LEVEL: key log.level: expected 'DEBUG', 'INFO', 'WARNING' or 'ERROR', found 'LOUD'",
            "ALPHAPULSE_GATEWEY__PORT: unknown variable, did you mean ALPHAPULSE_GATEWAY__PORT?",
        ]
    )


def test_the_message_counts_the_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^configuration refused, 1 fault:\n  - .*no such folder$"):
        load(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"^configuration refused, 2 faults:\n"):
        load(written(tmp_path, "a = 1\nb = 2\n"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('port = "8000"', "port: expected a whole number from 0 to 65535, found '8000'"),
        ("port = 8000.0", "port: expected a whole number from 0 to 65535, found 8000.0"),
        ("port = true", "port: expected a whole number from 0 to 65535, found true"),
        ("host = 127", "host: expected text, found 127"),
        (
            'allowed_origins = "https://a"',
            """allowed_origins: expected a list, such as ["a", "b"], found 'https://a'""",
        ),
        ("max_connections = 0", "max_connections: expected a whole number of at least 1, found 0"),
    ],
)
def test_a_file_has_types(tmp_path: Path, line: str, told: str) -> None:
    folder = written(tmp_path, f"[gateway]\n{line}\n")
    assert faults(folder) == [f"{folder / 'services.toml'}:2: key gateway.{told}"]


def test_a_value_wrong_in_both_is_told_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, "[gateway]\nport = -1\n")
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__PORT", "-2")
    assert [fault.split(":")[0] for fault in faults(folder)] == [
        str(folder / "services.toml"),
        "ALPHAPULSE_GATEWAY__PORT",
    ]


def test_numbers_must_be_finite(tmp_path: Path) -> None:
    (fault,) = faults(written(tmp_path, "[processors]\ncheckpoint_interval_s = inf\n"))
    assert fault.endswith(":2: key processors.checkpoint_interval_s: expected a number greater than 0, found inf")


def test_a_rule_between_keys_names_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, "[kafka]\nheartbeat_interval_ms = 3000\n")
    assert load(folder).kafka.heartbeat_interval_ms == 3000
    monkeypatch.setenv("ALPHAPULSE_KAFKA__SESSION_TIMEOUT_MS", "6000")
    assert faults(folder) == [
        (
            f"{folder / 'services.toml'}:2: key kafka.heartbeat_interval_ms: must be at most a third of "
            "session_timeout_ms (6000), found 3000"
        )
    ]


def test_clients_do_not_come_back_before_they_may(tmp_path: Path) -> None:
    (fault,) = faults(written(tmp_path, "[gateway]\nreconnect_most_s = 2\n"))
    assert "services.toml:2: key gateway.reconnect_most_s: must be at least reconnect_least_s (5), found 2" in fault


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        (
            "ALPHAPULSE_GATEWAY__PORT",
            "eighty",
            "key gateway.port: expected a whole number from 0 to 65535, found 'eighty'",
        ),
        ("ALPHAPULSE_KAFKA__BOOTSTRP", "a:1", "key kafka.bootstrp: unknown key, did you mean bootstrap?"),
        ("ALPHAPULSE_KAFKA_BOOTSTRAP", "a:1", "unknown variable, did you mean ALPHAPULSE_KAFKA__BOOTSTRAP?"),
        ("ALPHAPULSE_ZZZ", "1", "unknown variable"),
        (
            "ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S",
            "5,x",
            "key processors.candle_intervals_s.1: expected a whole number of at least 1, found 'x'",
        ),
        (
            "ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S",
            "[5, 300",
            "key processors.candle_intervals_s: not valid JSON; write a list",
        ),
        (
            "ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S",
            "5,60,5",
            "key processors.candle_intervals_s: 5 is listed twice",
        ),
        ("ALPHAPULSE_VENUES__KRAKEN__SYMBOLS", "BTC-USD,", "key venues.kraken.symbols.1: not a canonical symbol: ''"),
        (
            "ALPHAPULSE_PARQUET__TOPICS",
            '{"a": 1}',
            'key parquet.topics: expected a list, such as ["a", "b"], found a table',
        ),
        ("ALPHAPULSE_PARQUET__TOPICS", "", "key parquet.topics: must not be empty"),
        (
            "ALPHAPULSE_PARQUET__TOPICS",
            "md.trade",
            "key parquet.topics.0: unknown topic, did you mean md.trades?",
        ),
        (
            "ALPHAPULSE_VENUES__KRAKEN__WEBSOCKET_URL",
            "ws.kraken.com/v2",
            "key venues.kraken.websocket_url: must be wss://host or",
        ),
        (
            "ALPHAPULSE_VENUES__KRAKEN__REST_URL",
            "wss://a",
            "key venues.kraken.rest_url: must be https://host or http://host",
        ),
        ("ALPHAPULSE_CLICKHOUSE__DATABASE", "a`b", "key clickhouse.database: must be a plain name"),
        ("ALPHAPULSE_PROCESSORS__GROUP", "", "key processors.group: must not be empty"),
        (
            "ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S",
            "[0]",
            "key processors.candle_intervals_s.0: expected a whole number of at least 1, found 0",
        ),
        (
            "ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S",
            '{"a": 1}',
            "key processors.candle_intervals_s: expected a list of whole numbers, such as [1, 60], found a table",
        ),
        ("ALPHAPULSE_VENUES", "{", "key venues: expected a table, found text"),
        ("ALPHAPULSE_VENUES__KRAKEN__SYMBOLS", '["x"]', "key venues.kraken.symbols.0: not a canonical symbol"),
        (
            "ALPHAPULSE_KAFKA__BOOTSTRAP__HOST",
            "a",
            "key kafka.bootstrap: expected text, found a table",
        ),
    ],
)
def test_faults_of_variables(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str) -> None:
    monkeypatch.setenv(variable, value)
    (fault,) = faults(None)
    assert fault.startswith(f"{variable}: {expected}")


def test_other_faults_are_told_beside_a_variable_that_is_no_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHAPULSE_VENUES", "kraken")
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__PORT", "x")
    folder = written(tmp_path, "typo = 1\n")
    assert len(faults(folder)) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[kafka\n", "at line 1"), ("[a]\n[a]\n", "line 2"), ('x = "\n', "line 1")],
)
def test_a_file_that_is_no_toml(tmp_path: Path, text: str, expected: str) -> None:
    folder = written(tmp_path, text)
    (fault,) = faults(folder)
    assert fault.startswith(str(folder / "services.toml"))
    assert expected in fault


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "exchanges.toml").mkdir()
    second, first = faults(tmp_path)
    assert first.endswith("services.toml: is UTF-16 text; save it as UTF-8")
    assert second.endswith("exchanges.toml: Is a directory")


@pytest.mark.parametrize("name", ["services.toml", "exchanges.toml"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf[gateway]\r\nport = 8500\r\n")
    assert load(tmp_path).gateway.port == 8500


def test_text_of_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_bytes("# one\n# ünï\n".encode("latin-1"))
    assert faults(tmp_path) == [
        f"{tmp_path / 'services.toml'}: is not UTF-8 text: byte 0xfc in line 2; save it as UTF-8",
    ]
    (tmp_path / "services.toml").write_text("[gateway]\n# a\x85b\u2028c\nport = -1\n", encoding="utf-8")
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"{tmp_path / 'services.toml'}:3: key gateway.port")


def test_a_file_with_a_wrong_name(tmp_path: Path) -> None:
    (tmp_path / "service.toml").write_text("")
    assert faults(tmp_path) == [f"{tmp_path / 'service.toml'}: unknown file, did you mean services.toml?"]


def test_a_key_in_both_files(tmp_path: Path) -> None:
    folder = written(tmp_path, 'data_dir = "a"\n', '\ndata_dir = "b"\n')
    assert faults(folder) == [
        f"{folder / 'exchanges.toml'}:2: key data_dir: already set in {folder / 'services.toml'}:1"
    ]


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.data_dir = Path("x")  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka.bootstrap = "x"  # type: ignore[misc]


def test_secrets_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(
        tmp_path,
        '[kafka]\nsasl_password = "hunter2"\n[clickhouse]\ndsn = "clickhouse://u:hunter2@host/db"\n'
        '[registry]\nurl = "https://u:hunter2@registry"\n',
    )
    settings = load(folder)
    assert settings.kafka.sasl_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings)
    assert "hunter2" not in settings.kafka.model_dump_json()
    assert environment(settings)["ALPHAPULSE_KAFKA__SASL_PASSWORD"] == "hunter2"
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == settings


@pytest.mark.parametrize(
    "text",
    [
        "[kafka]\nsasl_password = 123454321\n",
        '[kafka]\nsasl_pasword = "123454321"\n',
        '[kafka]\nsasl_password = ["123454321"]\n',
        'kafka = "sasl_password=123454321"\n',
        '[clickhouse]\ndsn = ["clickhouse://u:123454321@host"]\n',
        '[kafka.bootstrap]\nsasl_password = "123454321"\n',
        "[venues.alpaca]\nkey = 123454321\n",
        '[registry]\nurl = "u:123454321@registry"\n',
        '[registry]\nurl = "ftp://u:123454321@registry"\n',
        '[venues.kraken]\nrest_url = "//u:123454321@host"\n',
    ],
)
def test_secrets_do_not_show_in_faults(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert "123454321" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_environment_of_defaults_is_empty() -> None:
    assert environment(Settings()) == {}


def test_the_environment_carries_venues_whole() -> None:
    settings = Settings(
        venues={"binance_us": VenueSettings(symbols=("BTC-USD",), taker_fee_basis_points=Decimal("9.5"))}
    )
    assert environment(settings) == {
        "ALPHAPULSE_VENUES": '{"binance_us": {"symbols": ["BTC-USD"], "taker_fee_basis_points": "9.5"}}'
    }


def test_prefix_is_that_of_the_model() -> None:
    assert Settings.model_config["env_prefix"] == config.PREFIX


class TestExamples:
    """deploy/config: what an operator starts from."""

    FOLDER = ROOT / "deploy" / "config"

    def test_services_are_the_defaults(self) -> None:
        loaded = load(self.FOLDER)
        assert loaded.model_copy(update={"venues": {}}) == Settings()

    def test_every_key_of_the_services_is_there(self) -> None:
        text = (self.FOLDER / "services.toml").read_text(encoding="utf-8")
        # A key whose default is "none" can only stand in a comment.
        lines = key_lines(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
        expected = {key for key in leaf_fields(Settings) if key[0] != "venues"}
        assert set(lines) == expected

    def test_the_commented_keys_are_right_too(self, tmp_path: Path) -> None:
        for name in config.FILES:
            text = (self.FOLDER / name).read_text(encoding="utf-8")
            (tmp_path / name).write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")
        loaded = load(tmp_path)
        assert loaded.registry.url == "http://redpanda:8081"
        assert loaded.venues["kraken"].depth == 1000

    def test_exchanges(self) -> None:
        venues = load(self.FOLDER).venues
        assert {name: venue.taker_fee_basis_points for name, venue in venues.items()} == {
            "kraken": Decimal(40),
            "coinbase": Decimal(60),
            "binance": Decimal(10),
            "binance_us": Decimal(60),
            "okx": Decimal(10),
            "bitstamp": Decimal(40),
            "coinbase_advanced": Decimal(60),
            "alpaca": Decimal(0),
        }
        assert {name for name, venue in venues.items() if not venue.enabled} == {
            "bitstamp",
            "coinbase_advanced",
            "alpaca",
        }
        assert all(len(venue.symbols) == 3 for venue in venues.values())
        text = (self.FOLDER / "exchanges.toml").read_text(encoding="utf-8")
        for key in VenueSettings.model_fields:
            assert re.search(rf"\b{key} = ", text), key


def test_a_book_may_not_grow_stale_between_two_heartbeats(tmp_path: Path) -> None:
    folder = written(tmp_path, "[freshness]\nheartbeat_ms = 2000\n")
    (fault,) = faults(folder)
    assert "freshness.max_book_age_ms" in fault
    assert "must be at least three times heartbeat_ms (2000)" in fault
    assert load(written(tmp_path, "[freshness]\nheartbeat_ms = 2000\nmax_book_age_ms = 6000\n")).freshness
