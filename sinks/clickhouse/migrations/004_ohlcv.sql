-- OHLCV at any interval of whole seconds, from the trades: SELECT … FROM v_ohlcv(seconds = 300) WHERE …
--
-- Sums per minute are kept as a projection, for intervals of whole minutes (a second has too few trades to be worth it): a part of the table holds those of its own rows, written with them in one
-- step and made anew when parts are merged. So they never know a row that the table does not have, or one twice,
-- whatever was inserted again, dropped as a repeated block, repaired after a crash or removed by a TTL. (A materialized
-- view sees every block on its own: a block whose part was lost between log and disk is repaired row by row, which it
-- would count again.) ClickHouse reads the projection where a part has it and the rows where not, with the same result.
--
-- A trade counts at its venue's time, at its receipt where the venue gives none, as in md.candles; trades of one time in
-- the order of their offsets: time and offset are one number of 128 bits, because aggregates of tuples cost an insert four
-- times as much. Sizes are summed in 128 bits, products in 256, per pair of exponents: exact, and nothing that an insert
-- could fail of.

ALTER TABLE trades MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';

ALTER TABLE trades ADD PROJECTION IF NOT EXISTS ohlcv
(
    SELECT
        venue,
        symbol,
        toStartOfMinute(if(exchange_time = 0, received_time, exchange_time)) AS minute,
        price_exponent,
        size_exponent,
        min(bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))),
        max(bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))),
        argMin(price, bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))),
        max(price),
        min(price),
        argMax(price, bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))),
        sum(toInt128(size)),
        sum(toInt256(toInt128(price) * toInt128(size))),
        count()
    GROUP BY venue, symbol, minute, price_exponent, size_exponent
);

ALTER TABLE trades MATERIALIZE PROJECTION ohlcv;

-- Rows are in the order of their receipt: with it a condition on the trades' time skips what is not near.
ALTER TABLE trades ADD INDEX IF NOT EXISTS trade_time if(exchange_time = 0, received_time, exchange_time) TYPE minmax GRANULARITY 1;

ALTER TABLE trades MATERIALIZE INDEX trade_time;

CREATE OR REPLACE VIEW v_ohlcv AS
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    s.venue AS venue,
    s.symbol AS symbol,
    s.open_time AS open_time,
    argMin(exact(s.first_price, s.price_exponent), s.first_key) AS open,
    max(exact(s.highest, s.price_exponent)) AS high,
    min(exact(s.lowest, s.price_exponent)) AS low,
    argMax(exact(s.last_price, s.price_exponent), s.last_key) AS close,
    sum(exact(s.sizes, s.size_exponent)) AS volume,
    sum(toDecimal256(s.products, 36) * intExp10(greatest(s.price_exponent, 0)) * intExp10(greatest(s.size_exponent, 0)) / intExp10(greatest(-s.price_exponent, 0)) / intExp10(greatest(-s.size_exponent, 0))) AS quote_volume,
    if(volume = 0, close, toDecimal256(divideDecimal(quote_volume, volume, 18), 18)) AS vwap,
    sum(s.count) AS trades,
    fromUnixTimestamp64Nano(toInt64(bitShiftRight(min(s.first_key), 64)), 'UTC') AS first_trade_time,
    fromUnixTimestamp64Nano(toInt64(bitShiftRight(max(s.last_key), 64)), 'UTC') AS last_trade_time
FROM
(
    -- Whole minutes: from the sums of the projection. Others: from the rows; the other branch reads nothing.
    SELECT
        venue,
        symbol,
        toStartOfInterval(toStartOfMinute(if(exchange_time = 0, received_time, exchange_time)), toIntervalSecond({seconds:UInt32})) AS open_time,
        price_exponent,
        size_exponent,
        min(bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS first_key,
        max(bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS last_key,
        argMin(price, bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS first_price,
        max(price) AS highest,
        min(price) AS lowest,
        argMax(price, bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS last_price,
        sum(toInt128(size)) AS sizes,
        sum(toInt256(toInt128(price) * toInt128(size))) AS products,
        count() AS count
    FROM trades
    WHERE {seconds:UInt32} % 60 = 0
    GROUP BY venue, symbol, open_time, price_exponent, size_exponent
    UNION ALL
    SELECT
        venue,
        symbol,
        toStartOfInterval(toStartOfSecond(if(exchange_time = 0, received_time, exchange_time)), toIntervalSecond({seconds:UInt32})) AS open_time,
        price_exponent,
        size_exponent,
        min(bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS first_key,
        max(bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS last_key,
        argMin(price, bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS first_price,
        max(price) AS highest,
        min(price) AS lowest,
        argMax(price, bitOr(bitShiftLeft(toInt128(toUnixTimestamp64Nano(if(exchange_time = 0, received_time, exchange_time))), 64), toInt128(_offset))) AS last_price,
        sum(toInt128(size)) AS sizes,
        sum(toInt256(toInt128(price) * toInt128(size))) AS products,
        count() AS count
    FROM trades
    WHERE {seconds:UInt32} % 60 != 0
    GROUP BY venue, symbol, open_time, price_exponent, size_exponent
) AS s
GROUP BY venue, symbol, open_time;
