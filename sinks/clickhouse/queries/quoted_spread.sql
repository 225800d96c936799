-- Quoted spread by venue and interval, weighted by time.
--
-- Best prices hold until the next ones of the venue are known, at most max_age_ms; they count for the interval in which
-- they begin. covered_seconds says of how much time something is known.
-- The best prices are those of v_best_prices: of depth (as the sink stores it), of stats (the end of each second) and of
-- quotes (venues without books), the newest that was received by then.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter seconds Decimal(18, 3) = 60: length of an interval
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
-- parameter max_age_ms UInt32 = 5000: a book that was not confirmed for longer is not used
WITH
    toInt64({seconds:Decimal(18, 3)} * 1000000000) AS step,
    tops AS
    (
        SELECT b.venue AS venue, b.time AS time, b.bid AS bid, b.ask AS ask
        FROM v_best_prices AS b
        WHERE b.symbol = {symbol:String} AND b.venue LIKE {venue:String}
            AND b.time >= {since:DateTime64(9, 'UTC')} - toIntervalMillisecond({max_age_ms:UInt32})
            AND b.time < {until:DateTime64(9, 'UTC')}
    ),
    held AS
    (
        SELECT
            venue,
            time,
            bid,
            ask,
            toUnixTimestamp64Nano(time) AS ns,
            leadInFrame(ns, 1, ns) OVER (PARTITION BY venue ORDER BY time ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next,
            toFloat64(least(next - ns, toInt64({max_age_ms:UInt32}) * 1000000)) AS weight
        FROM tops
    )
SELECT
    h.venue AS venue,
    fromUnixTimestamp64Nano(intDiv(h.ns, step + throwIf(step <= 0, 'seconds: a positive number is expected')) * step, 'UTC') AS start,
    round(avgWeighted(toFloat64(h.ask - h.bid), h.weight), 9) AS spread,
    round(avgWeighted(toFloat64(h.ask - h.bid) / toFloat64(h.ask + h.bid) * 20000, h.weight), 6) AS spread_bps,
    min(h.ask - h.bid) AS tightest,
    max(h.ask - h.bid) AS widest,
    sum(h.weight) / 1000000000 AS covered_seconds
FROM held AS h
WHERE h.bid IS NOT NULL AND h.weight > 0 AND h.time >= {since:DateTime64(9, 'UTC')}
GROUP BY venue, start
ORDER BY start, venue
