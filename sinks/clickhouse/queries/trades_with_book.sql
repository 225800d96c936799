-- Trades, each with the best bid and ask that were known when it came.
--
-- The best prices are those of v_best_prices: of depth (as the sink stores it), of stats (the end of each second) and of
-- quotes (venues without books), the newest that was received by then. book_age_ms says how long before the trade that was; bid and ask are
-- empty where there was no valid book, or none that was fresh.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
-- parameter max_age_ms UInt32 = 5000: a book that was not confirmed for longer is not used
-- parameter limit UInt32 = 1000: most rows, the newest
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    tops AS
    (
        SELECT b.venue AS venue, b.time AS time, b.bid AS bid, b.ask AS ask
        FROM v_best_prices AS b
        WHERE b.symbol = {symbol:String} AND b.venue LIKE {venue:String}
            AND b.time >= {since:DateTime64(9, 'UTC')} - toIntervalMillisecond({max_age_ms:UInt32})
            AND b.time < {until:DateTime64(9, 'UTC')}
    ),
    joined AS
    (
        SELECT
            t.venue AS venue,
            t.received_time AS received_time,
            t.trade_id AS trade_id,
            t.side AS side,
            exact(t.price, t.price_exponent) AS price,
            exact(t.size, t.size_exponent) AS size,
            b.time AS book_time,
            b.time > toDateTime64(0, 9, 'UTC') AND b.time >= t.received_time - toIntervalMillisecond({max_age_ms:UInt32}) AS fresh,
            if(fresh, b.bid, NULL) AS bid,
            if(fresh, b.ask, NULL) AS ask
        FROM trades AS t
        ASOF LEFT JOIN tops AS b ON t.venue = b.venue AND t.received_time >= b.time
        WHERE t.symbol = {symbol:String} AND t.venue LIKE {venue:String}
            AND t.received_time >= {since:DateTime64(9, 'UTC')} AND t.received_time < {until:DateTime64(9, 'UTC')}
    )
SELECT
    j.received_time AS received_time,
    j.venue AS venue,
    j.trade_id AS trade_id,
    j.side AS side,
    j.price AS price,
    j.size AS size,
    j.bid AS bid,
    j.ask AS ask,
    if(j.fresh, (toUnixTimestamp64Nano(j.received_time) - toUnixTimestamp64Nano(j.book_time)) / 1000000, NULL) AS book_age_ms
FROM joined AS j
ORDER BY received_time DESC, venue, trade_id
LIMIT {limit:UInt32}
