"""Configuration: TOML files overridden by the environment, validated at start.

``services.toml`` and ``exchanges.toml`` are read from one folder; a variable ``ALPHAPULSE_<SECTION>__<KEY>`` (deeper
keys by further double underscores, lists as ``a,b`` or JSON, tables as JSON) overrides a key; with the suffix
``_FILE``, the variable names a file that holds the value. Unknown keys are refused. All errors are reported at once,
each with its file and line or its variable, its key and its value; secrets are never shown. The venues' own rules are
passed to :func:`load` by the collectors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from alphapulse import topics
from alphapulse.addresses import is_loopback
from alphapulse.config.access_settings import AccessSettings
from alphapulse.config.dsn import is_embedded, uses_tls
from alphapulse.config.faults import Key
from alphapulse.config.loading import read
from alphapulse.config.secret_files import expanded
from alphapulse.config.section import Section
from alphapulse.config.tls_settings import TlsSection, one_user
from alphapulse.config.values import (
    REVEAL,
    Addresses,
    Database,
    Group,
    HttpUrl,
    Listed,
    ParquetPath,
    PartitionKeys,
    Secret,
    Symbol,
    TopicName,
    Topics,
    VenueName,
    WebSocketUrl,
)
from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol_or_pattern

FILES = ("services.toml", "exchanges.toml")
PREFIX = "ALPHAPULSE_"


class KafkaSettings(TlsSection):
    """``[kafka]``: the broker (docs/security.md)."""

    bootstrap: Addresses = "127.0.0.1:9092"
    """The brokers that a client asks first."""
    incarnation: str = ""
    """Identifies one instance of the broker's log: offsets of two instances are unrelated. Empty: its cluster id."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether records are encrypted (SSL), and whether the broker asks for a user (SASL)."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-256"
    """How the user is authenticated."""
    sasl_username: str = ""
    """Of ``sasl_mechanism``, where ``security_protocol`` has SASL; for OAUTHBEARER the client's id."""
    sasl_password: Secret = SecretStr("")
    """Best set by ``ALPHAPULSE_KAFKA__SASL_PASSWORD`` or its file; no message or log shows it. For OAUTHBEARER
    the client's secret."""
    # A URL may contain a password: the repr of the settings does not show it.
    sasl_oauth_token_url: Annotated[HttpUrl, Field(repr=False, validate_default=True)] = ""
    """OAUTHBEARER: the token endpoint of the identity provider (client credentials grant, RFC 6749, section 4.4)."""
    sasl_oauth_scope: str = ""
    """OAUTHBEARER: scope of the token, where the provider wants one."""
    sasl_oauth_cafile: Path | None = None
    """Authorities for the token endpoint's certificate; empty: the system's."""
    compression: Literal["none", "gzip", "lz4", "zstd"] = "lz4"
    """On our records zstd is a quarter smaller than lz4. But it clears some hundred kilobytes for each batch however
    small, and at usual rates a batch is one or two records: a tenth of the whole stack's CPU at 390 records/s."""
    request_timeout_ms: Annotated[int, Field(ge=1000)] = 30_000
    """How long a client waits for an answer of the broker before it tries another connection."""
    fetch_max_wait_ms: Annotated[int, Field(ge=1, le=5000)] = 100
    """Maximum time the broker may hold back an empty fetch response."""
    session_timeout_ms: Annotated[int, Field(ge=1000)] = 10_000
    """A consumer without heartbeats for this long loses its partitions to the others of its group."""
    heartbeat_interval_ms: Annotated[int, Field(ge=100, validate_default=True)] = 1_000
    """At most a third of ``session_timeout_ms``."""

    @field_validator("sasl_oauth_token_url")
    @classmethod
    def _with_oauthbearer(cls, value: str, info: ValidationInfo) -> str:
        sasl = str(info.data.get("security_protocol", "")).startswith("SASL")
        if sasl and info.data.get("sasl_mechanism") == "OAUTHBEARER" and not value:
            raise ValueError("must be set, because sasl_mechanism is OAUTHBEARER")
        parts = urlsplit(value)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("http:// is accepted for loopback addresses only; use https://")
        return value

    @field_validator("heartbeat_interval_ms")
    @classmethod
    def _several_heartbeats_a_session(cls, value: int, info: ValidationInfo) -> int:
        session: int | None = info.data.get("session_timeout_ms")
        if session is not None and value * 3 > session:
            raise ValueError(f"must be at most a third of session_timeout_ms ({session})")
        return value


class RegistrySettings(TlsSection):
    """``[registry]``: the schema registry; without ``url`` ids come from the schemas' fingerprints."""

    # A URL may contain a password: the repr of the settings does not show it.
    url: Annotated[HttpUrl | None, Field(repr=False)] = None
    """Its address; empty: none."""
    username: str = ""
    """Basic authentication; not together with a user in ``url``."""
    password: Secret = SecretStr("")
    """Of ``username``; best set by ``ALPHAPULSE_REGISTRY__PASSWORD`` or its file."""

    @field_validator("username")
    @classmethod
    def _one_user(cls, value: str, info: ValidationInfo) -> str:
        return one_user(value, info.data.get("url") or "", "url")


class OpsSettings(Section):
    """``[ops]``: health, readiness and metrics of every service. Port 0: any free one (see ``data_dir/run``)."""

    host: str = "127.0.0.1"
    """Address to listen on. The ops server knows no users: beyond loopback it belongs into a private network."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the ops server."""
    stop_with_parent: bool = False
    """Stop at the end of standard input; set by a supervisor, which holds the other end of the pipe."""
    follow_secrets: bool = True
    """Restart, gracefully and under the same process id, when a certificate, key or secret file changes that the
    service has read once and cannot read again (docs/security.md)."""


class LogSettings(Section):
    """``[log]``: ``auto`` is readable text on a terminal and JSON elsewhere."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is less is not logged."""
    format: Literal["auto", "json", "text"] = "auto"
    """``text`` is for people, ``json`` has one object a line."""


class PublisherSettings(Section):
    """``[publisher]``: bounds on records in flight between venue and broker."""

    max_in_flight: Annotated[int, Field(ge=1)] = 20_000
    """Maximum records in flight (not acknowledged); at the bound the venue's socket is not read."""
    max_in_flight_bytes: Annotated[int, Field(ge=65_536)] = 64 * 2**20
    """Maximum size in flight, in memory (encoded, plus 768 bytes each): it bounds a collector's memory, which grows by
    at most 1.3 times this plus 16 MiB while the broker is unavailable (docs/integrity.md). A single frame or snapshot,
    and a few events, may exceed both bounds."""
    broker_patience_s: Annotated[float, Field(gt=0)] = 10.0
    """After this long at a bound the venue's connections are closed; they reopen when the broker is available."""
    dedupe_seconds: Annotated[float, Field(ge=0)] = 600.0
    """At start, trades published within this time are read back: the venue's repeats are not published again."""
    dedupe_records: Annotated[int, Field(ge=0)] = 20_000
    """Maximum trades read back per partition; 0: none."""
    linger_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """Maximum delay of a record to be sent together with the next ones; only while six and more come within this time.
    0: none."""


class HandoverSettings(Section):
    """``[handover]``: a collector's process replaced by another one (docs/upgrade.md)."""

    lease_s: Annotated[float, Field(ge=4, le=120)] = 6.0
    """How long a process that no longer answers keeps its right to publish. Another one that cannot know whether it
    has ended (it ran on another machine or in another container) waits so long before it publishes in its place."""
    wait_s: Annotated[float, Field(ge=0, le=60)] = 8.0
    """How long a process that is asked to stop waits for its successor, if one has begun and is not yet prepared. Its
    grace period is longer by this than the 15 s of every service."""


class ProcessorSettings(Section):
    """``[processors]``: the stream processors."""

    group: Group = "alphapulse-processors"
    """Consumer group; the workers of one group share the partitions."""
    depth_levels: Annotated[int, Field(ge=1, le=1000)] = 20
    """Levels a side in md.depth."""
    depth_interval_ms: Annotated[int, Field(ge=0)] = 10
    """Minimum time between two Depth records of an instrument (0: one per change)."""
    stats_interval_s: Annotated[int, Field(ge=1)] = 1
    """Length of a window of md.stats."""
    candle_intervals_s: Annotated[tuple[Annotated[int, Field(ge=1)], ...], *Listed] = (1, 60)
    """Lengths of candles."""
    candle_lateness_s: Annotated[float, Field(ge=0)] = 120.0
    """How long a candle may still change after its end and after its last trade was received."""
    commit_interval_ms: Annotated[int, Field(ge=10)] = 200
    """Time between two commits; after a crash the records behind the last one are read again."""
    drain_seconds: Annotated[float, Field(ge=0, le=60)] = 10.0
    """How long a stopping worker may go on reading the records that the broker has at that moment. Its grace period is
    longer by this than the 15 s of every service."""
    checkpoint_interval_s: Annotated[float, Field(gt=0)] = 5.0
    """Time between two checkpoints of a partition."""
    checkpoint_bytes: Annotated[int, Field(ge=65_536)] = 1_048_576
    """A partition with this much read since its last checkpoint gets a checkpoint before the interval is over: the
    records behind it are needed after a crash, and the embedded broker keeps only the newest 8 MB."""
    arbitrage_min_net_basis_points: float = 0.0
    """Least profit after fees of an opportunity."""


class TracingSettings(Section):
    """``[tracing]``: OpenTelemetry traces of sampled records (docs/tracing.md); empty ``endpoint``: off."""

    # A URL may contain a password: the repr of the settings does not show it.
    endpoint: Annotated[HttpUrl, Field(repr=False)] = ""
    """OTLP/HTTP receiver, e.g. ``http://127.0.0.1:4318``."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.001
    """Share of the frames with records that are traced; decided by the collector, for the whole pipeline."""


class TopicsSettings(Section):
    """``[topics]``: settings of ``alphapulse init`` and ``alphapulse topics create``."""

    replication: Annotated[int, Field(ge=1, le=9)] = 1
    """Replicas of each partition."""
    retention_hours: dict[TopicName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Retention by topic; other topics keep their default (docs/tables.md)."""


class FreshnessSettings(Section):
    """``[freshness]``: maximum ages of data (docs/integrity.md). Hosts need synchronized clocks (NTP)."""

    heartbeat_ms: Annotated[int, Field(ge=50, le=60_000)] = 1_000
    """Interval at which a collector confirms a valid book that does not change."""
    max_book_age_ms: Annotated[int, Field(ge=100, validate_default=True)] = 5_000
    """A book not confirmed for longer is stale: REST, stream, page, arbitrage and health treat it as invalid."""
    max_lag_s: Annotated[float, Field(gt=0)] = 5.0
    """A consumer group further behind than this makes the system ``degraded``."""
    max_feed_delay_ms: Annotated[int, Field(ge=0)] = 2_000
    """A collector that reads frames later than this after their arrival invalidates its books until it has caught up;
    0: never."""

    @field_validator("max_book_age_ms")
    @classmethod
    def _several_heartbeats_an_age(cls, value: int, info: ValidationInfo) -> int:
        heartbeat: int | None = info.data.get("heartbeat_ms")
        if heartbeat is not None and value < heartbeat * 3:
            raise ValueError(f"must be at least three times heartbeat_ms ({heartbeat})")
        return value


DrainSeconds = Annotated[float, Field(ge=0, le=10)]
"""How long a stopping sink may go on reading the records that the broker has at that moment. At most 10: the last
write and the closing follow, and a service that has not stopped after 15 s is cancelled."""


TTL_DAYS: Final[Mapping[str, float]] = {topics.L2: 7.0}
"""Default of ``[clickhouse] ttl_days``: the levels of the books are most of the data. Other topics: without limit."""


EMBEDDED_BATCH_SECONDS: Final = 5.0
"""Default of ``[clickhouse] batch_seconds_max`` on the embedded engine."""


class ClickHouseSettings(TlsSection):
    """``[clickhouse]``: the SQL sink. Empty ``dsn``: chDB, embedded, under ``data_dir/clickhouse``."""

    dsn: Annotated[str, Field(repr=False)] = ""
    """``clickhouse://host:8123``, over TLS ``https://host:8443``; may name user and password, then best set by
    ``ALPHAPULSE_CLICKHOUSE__DSN_FILE``."""
    username: str = ""
    """User of the server; not together with one in ``dsn``."""
    password: Secret = SecretStr("")
    """Empty with a client certificate: the certificate is the user's proof (``IDENTIFIED WITH ssl_certificate``)."""
    database: Database = "alphapulse"
    """Database of the tables, on the server or embedded."""
    group: Group = "alphapulse-sink-clickhouse"
    """Consumer group; the sinks of one group share the partitions."""
    topics: Topics = (
        topics.TRADES,
        topics.L2,
        topics.QUOTES,
        topics.DEPTH,
        topics.CANDLES,
        topics.STATS,
        topics.ARBITRAGE,
        topics.EVENTS,
        topics.DEAD_LETTERS,
    )
    """Topics that are stored, each in its table (docs/tables.md)."""
    batch_records: Annotated[int, Field(ge=1)] = 50_000
    """A batch is written when it has this many records …"""
    batch_seconds: Annotated[float, Field(gt=0)] = 1.0
    """A batch is written this long after its oldest record was fetched where records are many; fetching takes up to
    half as long, at most 0.5 s, so a row is then in its table one to two seconds after its record was published."""
    batch_seconds_max: Annotated[float, Field(gt=0, le=600)] | None = None
    """At low rates a batch waits longer for more rows, at most this long (at least ``batch_seconds``). None: 5, on a
    server 12, where each of a topic's partitions is a part: one part a second and table."""
    drain_seconds: DrainSeconds = 10.0
    depth_interval_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 1_000
    """Of ``md.depth`` the last record of each instrument in each interval of this length is stored; 0: every one."""
    depth_levels: Annotated[int, Field(ge=1, le=1000)] = 1
    """Levels a side stored of it."""
    book_records: Annotated[int, Field(ge=0)] = 2_000
    """A whole book is stored in the table ``books`` after so many records of ``md.l2`` (at least as many as it has
    levels), so that a query for the book at an instant reads no more than those; 0: none is stored."""
    ttl_days: dict[TopicName, Annotated[float, Field(ge=0, le=36_500)]] = Field(default_factory=dict)
    """How long rows are kept, by topic, days after their time; 0: without limit. Others keep their default
    (:data:`TTL_DAYS`). Applied by ``alphapulse init`` and ``alphapulse clickhouse ttl`` (docs/clickhouse.md)."""
    ttl_at_start: bool = False
    """The sink applies ``ttl_days`` at its start, too. Not for old data (recordings): it would be removed at once."""

    @property
    def embedded(self) -> bool:
        """Whether the database is chDB in the sink's process, not a server."""
        return not self.dsn or self.dsn.startswith("chdb:")

    @property
    def longest_batch_seconds(self) -> float:
        """The longest time that a batch waits."""
        longest = self.batch_seconds_max
        if longest is None:
            longest = EMBEDDED_BATCH_SECONDS if self.embedded else float(topics.PARTITIONS)
        return max(self.batch_seconds, longest)

    def ttl_seconds(self, topic: str) -> int:
        """Return how long rows of ``topic`` are to be kept, seconds; 0: without limit."""
        return round(self.ttl_days.get(topic, TTL_DAYS.get(topic, 0.0)) * 86_400)

    @field_validator("dsn")
    @classmethod
    def _over_tls(cls, value: str, info: ValidationInfo) -> str:
        """Certificates for a server that is reached in clear are a mistake that would send the password in clear."""
        try:
            clear = not is_embedded(value) and not uses_tls(value)
        except ValueError:  # not an address: told when it is used
            return value
        if clear and (info.data.get("ssl_cafile") or info.data.get("ssl_certfile")):
            raise ValueError("does not use TLS, but ssl_cafile or ssl_certfile is set: use https://host:8443")
        return value

    @field_validator("username")
    @classmethod
    def _one_user(cls, value: str, info: ValidationInfo) -> str:
        return one_user(value, str(info.data.get("dsn", "")), "dsn")


class ParquetSettings(Section):
    """``[parquet]``: the file sink. Empty ``path``: ``data_dir/parquet``."""

    path: ParquetPath = ""
    """Folder, or URL of a bucket for pyarrow's filesystems; credentials come from the environment."""
    group: Group = "alphapulse-sink-parquet"
    """Consumer group; the sinks of one group share the partitions."""
    topics: Topics = (topics.TRADES, topics.L2, topics.QUOTES, topics.CANDLES, topics.ARBITRAGE)
    """Topics that are stored, each in its folder (docs/tables.md)."""
    partition_by: PartitionKeys = ("date", "hour")
    """Folders below a topic's, from the outer to the inner one: ``date``, ``hour``, ``venue``, ``symbol``; ``date`` is
    needed. A topic's folder keeps the layout that it began with (docs/parquet.md)."""
    decimals: bool = False
    """Whether files have prices and sizes as DECIMAL(38, 18), too, in columns named ``…_decimal`` (docs/parquet.md)."""
    batch_records: Annotated[int, Field(ge=1)] = 500_000
    """A batch is written when it has this many records …"""
    batch_seconds: Annotated[float, Field(gt=0)] = 60.0
    """… or this long after its oldest record was fetched: each batch is one file per partition and hour."""
    drain_seconds: DrainSeconds = 10.0
    keep_days: Annotated[float, Field(ge=0)] = 0.0
    """``alphapulse parquet retain`` removes hours that ended longer ago; 0: none."""
    keep_gb: Annotated[float, Field(ge=0)] = 0.0
    """It removes the oldest hours until the rest is at most so many gigabytes (10^9 bytes); 0: none."""


class GatewaySettings(Section):
    """``[gateway]``: REST, WebSocket and page."""

    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback ``gateway.access`` has to say who may read."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Of REST, stream and page; 0: any free one."""
    max_connections: Annotated[int, Field(ge=1)] = 1000
    """Maximum stream connections."""
    queue_bytes: Annotated[int, Field(ge=1024)] = 1_048_576
    """Maximum queue of a slow client before it is conflated, then disconnected."""
    gather_ms: Annotated[float, Field(ge=0, le=1000)] = 10
    """Minimum time between two handovers of records to clients, so that a few hundred records a second need fewer
    writes: a record waits half of it in the mean, the first after a pause not at all. Without any client it is 50 at
    least: what REST answers is then 25 ms older in the mean."""
    reconnect_least_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """A gateway that stops tells its clients to come back at a random time between this and the next; with several
    gateways it may be short, and ``reconnect_most_s`` spreads their clients over the others."""
    reconnect_most_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """See ``reconnect_least_s``."""
    allowed_origins: Annotated[tuple[str, ...], *Listed] = ()
    """Other origins whose pages may use stream and REST (``https://desk.example``); the gateway's own always may."""
    access: AccessSettings = AccessSettings()

    @field_validator("reconnect_most_s")
    @classmethod
    def _not_before_the_least(cls, value: float, info: ValidationInfo) -> float:
        least: float | None = info.data.get("reconnect_least_s")
        if least is not None and value < least:
            raise ValueError(f"must be at least reconnect_least_s ({least:g})")
        return value


class VenueSettings(Section):
    """``[venues.<name>]``: one exchange feed."""

    enabled: bool = True
    """Whether ``alphapulse collect`` without arguments collects it."""
    symbols: Annotated[tuple[Symbol, ...], *Listed] = ()
    """Canonical symbols, or patterns (``*-USD``) that expand to all matching symbols of the venue."""
    websocket_url: WebSocketUrl | None = None
    """Empty: the venue's public address."""
    rest_url: HttpUrl | None = None
    """Empty: the venue's public address."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Levels to subscribe to, where the venue offers a choice."""
    connections: Annotated[int, Field(ge=1, le=100)] = 1
    """Minimum number of connections that share the symbols; more are opened where the venue's limits need them."""
    symbols_per_connection: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Fewer than the venue allows; empty: the venue's limit."""
    reconnect_hours: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """A connection of this age is replaced without a gap; empty: shortly before the venue would close it."""
    instrument_silence_seconds: Annotated[float, Field(gt=0)] | None = None
    """A book not proven alive for this long is compared with the venue's snapshot (docs/integrity.md); empty: the
    venue's default."""
    taker_fee_basis_points: Annotated[Decimal, Field(ge=0, le=1000)] = Decimal(0)
    """Cost of an order that takes liquidity (40: 0.40 %); arbitrage counts it on both sides."""
    key: Secret = SecretStr("")
    """Of an account, where the venue needs one; best set by ``ALPHAPULSE_VENUES__<NAME>__KEY`` and ``…__SECRET``."""
    secret: Secret = SecretStr("")
    """Likewise."""


class Settings(BaseSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Path("data")
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    ops: OpsSettings = OpsSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    topics: TopicsSettings = TopicsSettings()
    publisher: PublisherSettings = PublisherSettings()
    handover: HandoverSettings = HandoverSettings()
    processors: ProcessorSettings = ProcessorSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    parquet: ParquetSettings = ParquetSettings()
    gateway: GatewaySettings = GatewaySettings()
    venues: dict[VenueName, VenueSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment overrides the files, which arrive as init arguments (load() merges them).
        return _Environment(settings_cls), init_settings


class _Environment(EnvSettingsSource):
    """Environment variables; invalid JSON is left to the validation of its key.

    pydantic-settings would stop there and report no other error.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        variables, _ = expanded(os.environ, PREFIX)  # read() reports the errors
        return {name.lower(): value for name, value in variables.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if not str(value).lstrip().startswith(("[", "{")):
            return value  # a list as a,b
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


# Read by load(), the tests or the page's build; not keys of the settings.
_OUTSIDE = frozenset({f"{PREFIX}CONFIG", f"{PREFIX}RECORDINGS", f"{PREFIX}GATEWAY_URL"})


VenueRules: TypeAlias = Callable[[Mapping[str, "VenueSettings"]], Iterable[tuple[Key, str]]]
"""Given the venues' tables, returns (key, reason) for each setting that the venue does not support."""


def load(folder: Path | None = None, rules: VenueRules = lambda _: ()) -> Settings:
    """Read the configuration.

    Args:
        folder: holds the TOML files (each optional); default: ``$ALPHAPULSE_CONFIG``, else none.
        rules: the venues' rules, passed by collectors. They check the valid parts of each table, whatever else is
            invalid in it.

    Raises:
        ConfigError: lists all errors in files and environment.
    """

    def of_venues(values: Mapping[str, Any], faulty: Collection[Key]) -> Iterable[tuple[Key, str]]:
        tables = _sound(values.get("venues"), faulty)
        # An invalid list may be left empty here; that it is empty is then not the error to report.
        left = {("venues", name, "symbols") for name, table in tables.items() if table.symbols}
        told = {key[:3] for key in faulty} - left
        return [(key, reason) for key, reason in rules(tables) if key not in told]

    return read(
        Settings,
        folder_of(folder),
        FILES,
        prefix=PREFIX,
        outside=_OUTSIDE,
        environment=_Environment(Settings),
        rules=of_venues,
    )


def folder_of(folder: Path | None = None) -> Path | None:
    """Return the configuration folder: ``folder``, else ``$ALPHAPULSE_CONFIG``, else none."""
    named = os.environ.get(f"{PREFIX}CONFIG")
    return folder if folder is not None or not named else Path(named)


def _sound(venues: object, faulty: Collection[Key]) -> dict[str, VenueSettings]:
    """Return the venues' tables without the keys at ``faulty``, and with only the valid ones of their symbols."""
    found: dict[str, VenueSettings] = {}
    for name, table in venues.items() if isinstance(venues, dict) else ():
        if ("venues", name) in faulty or not isinstance(table, dict):
            continue
        wrong = {key[2] for key in faulty if key[:2] == ("venues", name) and len(key) > 2}
        sound = {key: value for key, value in table.items() if key not in wrong}
        if "symbols" in wrong and isinstance(listed := table.get("symbols"), list | tuple):
            sound["symbols"] = list(dict.fromkeys(symbol for symbol in listed if _is_symbol(symbol)))
        try:
            found[name] = VenueSettings(**sound)
        except ValidationError:  # a rule between keys, one of which was removed; already reported
            continue
    return found


def _is_symbol(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(check_symbol_or_pattern(value))
    except ValueRefused:
        return False


def environment(settings: Settings) -> dict[str, str]:
    """Return ``settings`` as environment variables for a supervisor's children, including secrets.

    Defaults are left out: give a child these variables *instead of* its parent's own ``ALPHAPULSE_…`` ones, which would
    otherwise apply (``ALPHAPULSE_CONFIG``, too).
    """
    variables: dict[str, str] = {}
    for key, value in settings.model_dump(mode="json", exclude_defaults=True, context=REVEAL).items():
        _flatten(f"{PREFIX}{key.upper()}", value, variables)
    return variables


_TABLES: Final = (f"{PREFIX}VENUES", f"{PREFIX}TOPICS__RETENTION_HOURS")
"""Tables whose keys are names of things, not of settings: written as JSON."""


def _flatten(name: str, value: Any, variables: dict[str, str]) -> None:
    if isinstance(value, dict) and name not in _TABLES:
        for key, inner in value.items():
            _flatten(f"{name}__{key.upper()}", inner, variables)
    elif isinstance(value, str):
        variables[name] = value
    elif value is not None:
        variables[name] = json.dumps(value)
