-- Codecs of l2 as they measured smallest on recordings of real venues (tests/benchmarks/bench_compression.py), at the levels
-- and at the cost of an insert that there were. An epoch begins with at least eight decimals, so mantissas are multiples of
-- the venue's tick and lot: GCD divides each block by what its values share. After that prices are near their neighbours
-- (Delta), in few bits (T64 in bits); T64 would hide from ZSTD that sizes repeat. Venues' times are multiples of a microsecond
-- or a millisecond. Blocks of 128 KiB hold fewer instruments, whose divisors differ. Parts that are there keep their codecs
-- until they are merged.
ALTER TABLE l2
    MODIFY COLUMN bid_prices CODEC(GCD, Delta, T64('bit'), ZSTD(3)),
    MODIFY COLUMN ask_prices CODEC(GCD, Delta, T64('bit'), ZSTD(3)),
    MODIFY COLUMN bid_sizes CODEC(GCD, ZSTD(3)),
    MODIFY COLUMN ask_sizes CODEC(GCD, ZSTD(3)),
    MODIFY COLUMN exchange_time CODEC(GCD, Delta, T64, ZSTD(3)),
    MODIFY COLUMN received_time CODEC(GCD, Delta, T64('bit'), ZSTD(3)),
    MODIFY COLUMN epoch CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN sequence CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN exchange_sequence CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN checksum CODEC(ZSTD(3)),
    MODIFY COLUMN _offset CODEC(Delta, ZSTD(3));

ALTER TABLE l2 MODIFY SETTING max_compress_block_size = 131072;
