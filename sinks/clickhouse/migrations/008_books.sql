-- Whole books from time to time, so that the book at an instant needs only the records since the last of them, however
-- long its epoch lasts (sinks/clickhouse/books.py fills the table, queries/book_at.sql reads it).
--
-- A row is the book after the record (epoch, sequence) of l2, made of the rows of l2 alone and only if none is missing: it can
-- be made again at any time, and a second one of the same record is the same. Rows are large, hence the granularity.
CREATE TABLE IF NOT EXISTS books
(
    venue LowCardinality(String),
    symbol LowCardinality(String),
    epoch Int64 CODEC(Delta, ZSTD),
    sequence Int64 CODEC(Delta, ZSTD),
    received_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    price_exponent Int32 CODEC(ZSTD),
    size_exponent Int32 CODEC(ZSTD),
    bid_prices Array(Int64) CODEC(Delta, ZSTD),
    bid_sizes Array(Int64) CODEC(T64, ZSTD),
    ask_prices Array(Int64) CODEC(Delta, ZSTD),
    ask_sizes Array(Int64) CODEC(T64, ZSTD)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(received_time)
ORDER BY (venue, symbol, epoch, sequence)
SETTINGS index_granularity = 4, fsync_after_insert = 1, fsync_part_directory = 1;
