-- v_ohlcv at any interval of whole milliseconds: v_ohlcv(seconds = 0.25). The condition on the interval is a constant, of which
-- ClickHouse keeps one side: for whole minutes the key of the projection, so that its sums are read, for others the time itself,
-- so that rows are. (Two branches, of which one reads nothing, took twice as long to plan.)
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
    SELECT
        venue,
        symbol,
        toStartOfInterval(if(toInt64({seconds:Decimal(18, 3)} * 1000) % 60000 = 0, CAST(toStartOfMinute(if(exchange_time = 0, received_time, exchange_time)), 'DateTime64(9, \'UTC\')'), if(exchange_time = 0, received_time, exchange_time)), toIntervalMillisecond(greatest(toInt64({seconds:Decimal(18, 3)} * 1000), 1))) AS open_time,
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
    GROUP BY venue, symbol, open_time, price_exponent, size_exponent
) AS s
GROUP BY venue, symbol, open_time;
