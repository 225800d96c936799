-- Effective spread of the trades beside the spread that was quoted when they came, by venue, in basis points.
--
-- The effective spread of a trade is twice its distance from the middle of the book, on the aggressor's side: 2 × (price - mid)
-- for a purchase, 2 × (mid - price) for a sale; where the venue does not tell the aggressor, the distance without its
-- sign. The means are weighted by value (price × size).
-- The best prices are those of v_best_prices: of depth (as the sink stores it), of stats (the end of each second) and of
-- quotes (venues without books), the newest that was received by then. Trades without a fresh book are counted as trades only.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
-- parameter max_age_ms UInt32 = 5000: a book that was not confirmed for longer is not used
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
    j.venue AS venue,
    count() AS trades,
    countIf(j.bid IS NOT NULL) AS trades_with_book,
    sum(j.size) AS volume,
    round(avgWeighted(toFloat64(j.ask - j.bid) / mid * 10000, weight), 6) AS quoted_bps,
    round(avgWeighted(2 * distance / mid * 10000, weight), 6) AS effective_bps,
    countIf(j.price > j.bid AND j.price < j.ask) AS inside,
    countIf(j.price < j.bid OR j.price > j.ask) AS outside
FROM
(
    SELECT
        *,
        toFloat64(bid + ask) / 2 AS mid,
        if(bid IS NULL, 0, toFloat64(price) * toFloat64(size)) AS weight,
        multiIf(side = 'BUY', toFloat64(price) - mid, side = 'SELL', mid - toFloat64(price), abs(toFloat64(price) - mid)) AS distance
    FROM joined
) AS j
GROUP BY venue
ORDER BY venue
