-- Codecs of levels as they measured smallest on recordings of real venues (tests/benchmarks/bench_compression.py): a fifth less
-- than before. Neighbours in an array of prices are near one another; T64 hides from ZSTD that sizes repeat. Parts that are
-- there keep their codec until they are merged.
ALTER TABLE l2
    MODIFY COLUMN bid_prices CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN ask_prices CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN bid_sizes CODEC(ZSTD(3)),
    MODIFY COLUMN ask_sizes CODEC(ZSTD(3));

ALTER TABLE books
    MODIFY COLUMN bid_prices CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN ask_prices CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN bid_sizes CODEC(ZSTD(3)),
    MODIFY COLUMN ask_sizes CODEC(ZSTD(3));
