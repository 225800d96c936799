-- Open, high, low, close, volume and volume-weighted price of trades, at any interval.
--
-- Intervals are by the time of the exchange, or by ours where it gives none, and begin at multiples of their length
-- since 1970. One without trades has no row. vwap is truncated to 18 decimals.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter seconds Decimal(18, 3) = 60: length of an interval; 0.25 is a quarter of a second
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    toInt64({seconds:Decimal(18, 3)} * 1000000000) AS step,
    parts AS
    (
        WITH if(t.exchange_time > toDateTime64(0, 9, 'UTC'), t.exchange_time, t.received_time) AS time
        SELECT
            t.venue AS venue,
            intDiv(toUnixTimestamp64Nano(time), step + throwIf(step <= 0, 'seconds: a positive number is expected')) AS number,
            t.price_exponent AS price_exponent,
            t.size_exponent AS size_exponent,
            min((time, t.received_time, t._offset)) AS first,
            max((time, t.received_time, t._offset)) AS last,
            argMin(t.price, (time, t.received_time, t._offset)) AS open,
            max(t.price) AS high,
            min(t.price) AS low,
            argMax(t.price, (time, t.received_time, t._offset)) AS close,
            sum(toInt128(t.size)) AS volume,
            sum(toInt256(t.price) * t.size) AS notional,
            count() AS trades
        FROM trades AS t
        WHERE t.symbol = {symbol:String} AND t.venue LIKE {venue:String}
            AND t.received_time >= {since:DateTime64(9, 'UTC')} AND t.received_time < {until:DateTime64(9, 'UTC')}
        GROUP BY venue, number, price_exponent, size_exponent
    )
SELECT
    p.venue AS venue,
    fromUnixTimestamp64Nano(p.number * step, 'UTC') AS open_time,
    argMin(exact(p.open, p.price_exponent), p.first) AS open,
    max(exact(p.high, p.price_exponent)) AS high,
    min(exact(p.low, p.price_exponent)) AS low,
    argMax(exact(p.close, p.price_exponent), p.last) AS close,
    sum(exact(p.volume, p.size_exponent)) AS volume,
    if(volume = 0, NULL, toDecimal256(divideDecimal(sum(exact(p.notional, p.price_exponent) * intExp10(greatest(p.size_exponent, 0)) / intExp10(greatest(-p.size_exponent, 0))), volume, 18), 18)) AS vwap,
    sum(p.trades) AS trades
FROM parts AS p
GROUP BY venue, p.number
ORDER BY open_time, venue
