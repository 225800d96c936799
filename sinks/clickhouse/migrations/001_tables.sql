-- The tables: one per topic, columns named as in the records, plus where a row came from (_incarnation, _partition,
-- _offset), which makes "exactly once" something anyone can check. Prices and sizes are integer mantissas with an
-- exponent; 002_views.sql has them as exact decimals.
--
-- Codecs are those that measured smallest on recorded data: ZSTD for prices (a price repeats; neighbours do not help),
-- Delta and T64 before ZSTD for times and sequences, T64 for sizes.
-- non_replicated_deduplication_window: repeated inserts are known by their token (sinks/clickhouse/writer.py).
-- fsync_*: a row must survive a power cut before its offset is committed.

CREATE TABLE IF NOT EXISTS trades
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    trade_id String CODEC(ZSTD),
    side LowCardinality(String),
    price Int64 CODEC(ZSTD),
    size Int64 CODEC(T64, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    exchange_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    received_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_time)
ORDER BY (venue, symbol, received_time, _offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS l2
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    kind LowCardinality(String),
    epoch Int64 CODEC(Delta, T64, ZSTD),
    sequence Int64 CODEC(Delta, T64, ZSTD),
    exchange_sequence Nullable(Int64) CODEC(Delta, T64, ZSTD),
    exchange_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    received_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    bid_prices Array(Int64) CODEC(ZSTD),
    bid_sizes Array(Int64) CODEC(T64, ZSTD),
    ask_prices Array(Int64) CODEC(ZSTD),
    ask_sizes Array(Int64) CODEC(T64, ZSTD),
    checksum Nullable(Int64) CODEC(T64, ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_time)
ORDER BY (venue, symbol, received_time, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS quotes
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    bid_price Int64 CODEC(ZSTD),
    bid_size Int64 CODEC(T64, ZSTD),
    ask_price Int64 CODEC(ZSTD),
    ask_size Int64 CODEC(T64, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    exchange_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    received_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_time)
ORDER BY (venue, symbol, received_time, _offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS depth
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    valid Bool,
    epoch Int64 CODEC(Delta, T64, ZSTD),
    sequence Int64 CODEC(Delta, T64, ZSTD),
    exchange_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    received_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    bid_prices Array(Int64) CODEC(ZSTD),
    bid_sizes Array(Int64) CODEC(T64, ZSTD),
    ask_prices Array(Int64) CODEC(ZSTD),
    ask_sizes Array(Int64) CODEC(T64, ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_time)
ORDER BY (venue, symbol, received_time, sequence)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS candles
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    interval Int64 CODEC(ZSTD),
    open_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    open Int64 CODEC(ZSTD),
    high Int64 CODEC(ZSTD),
    low Int64 CODEC(ZSTD),
    close Int64 CODEC(ZSTD),
    volume Int64 CODEC(T64, ZSTD),
    quote_volume String CODEC(ZSTD),
    vwap Int64 CODEC(ZSTD),
    vwap_exponent Int32 CODEC(ZSTD),
    trades Int64 CODEC(T64, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    revision Int32 CODEC(ZSTD),
    received_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(open_time)
ORDER BY (venue, symbol, interval, open_time, revision)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS stats
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    window_start DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    window_end DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    epoch Int64 CODEC(Delta, T64, ZSTD),
    sequence Int64 CODEC(Delta, T64, ZSTD),
    valid Bool,
    snapshots Int64 CODEC(T64, ZSTD),
    deltas Int64 CODEC(T64, ZSTD),
    level_changes Int64 CODEC(T64, ZSTD),
    levels_added Int64 CODEC(T64, ZSTD),
    levels_updated Int64 CODEC(T64, ZSTD),
    levels_removed Int64 CODEC(T64, ZSTD),
    trades Int64 CODEC(T64, ZSTD),
    bid_levels Int64 CODEC(T64, ZSTD),
    ask_levels Int64 CODEC(T64, ZSTD),
    best_bid Nullable(Int64) CODEC(ZSTD),
    best_ask Nullable(Int64) CODEC(ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    latency_max Int64 CODEC(T64, ZSTD),
    latency_mean Int64 CODEC(T64, ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (venue, symbol, window_start)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS arbitrage
(
    opportunity_id String CODEC(ZSTD),
    state LowCardinality(String),
    symbol LowCardinality(String),
    buy_venue LowCardinality(String),
    sell_venue LowCardinality(String),
    buy_price Int64 CODEC(ZSTD),
    sell_price Int64 CODEC(ZSTD),
    buy_limit_price Int64 CODEC(ZSTD),
    sell_limit_price Int64 CODEC(ZSTD),
    size Int64 CODEC(T64, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    gross_profit String CODEC(ZSTD),
    net_profit String CODEC(ZSTD),
    net_basis_points Float64 CODEC(ZSTD),
    buy_fee_basis_points Float64 CODEC(ZSTD),
    sell_fee_basis_points Float64 CODEC(ZSTD),
    opened_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    updated_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    buy_book_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    sell_book_time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    close_reason LowCardinality(Nullable(String)),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(updated_time)
ORDER BY (symbol, updated_time, opportunity_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS events
(
    time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    service LowCardinality(String),
    kind LowCardinality(String),
    severity LowCardinality(String),
    venue LowCardinality(Nullable(String)),
    symbol LowCardinality(Nullable(String)),
    message String CODEC(ZSTD),
    details Map(String, String) CODEC(ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (time, service)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS dead_letters
(
    time DateTime64(9, 'UTC') CODEC(Delta, T64, ZSTD),
    service LowCardinality(String),
    source LowCardinality(String),
    partition Nullable(Int32) CODEC(ZSTD),
    offset Nullable(Int64) CODEC(ZSTD),
    key Nullable(String) CODEC(ZSTD),
    value String CODEC(ZSTD),
    venue LowCardinality(Nullable(String)),
    symbol LowCardinality(Nullable(String)),
    error LowCardinality(String),
    reason String CODEC(ZSTD),
    _incarnation LowCardinality(String),
    _partition Int32 CODEC(ZSTD),
    _offset Int64 CODEC(Delta, T64, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (source, time)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
