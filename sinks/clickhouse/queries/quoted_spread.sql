-- Quoted spread by venue and interval, weighted by time.
--
-- Best prices hold until the next ones of the venue are known, at most max_age_ms; they count for the interval in which
-- they begin. covered_seconds says of how much time something is known.
-- The best prices are those of depth (each change, if the sink writes md.depth), of stats (the end of each second) and of
-- quotes (venues without books): the newest that was received by then.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter seconds Decimal(18, 3) = 60: length of an interval
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
-- parameter max_age_ms UInt32 = 5000: a book that was not confirmed for longer is not used
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    toInt64({seconds:Decimal(18, 3)} * 1000000000) AS step,
    tops AS
    (
        SELECT a.venue AS venue, a.time AS time, argMax((a.bid, a.ask), a.number) AS best, best.1 AS bid, best.2 AS ask
        FROM
        (
            SELECT
                d.venue AS venue,
                (2, d._offset) AS number,
                d.received_time AS time,
                if(d.valid AND notEmpty(d.bid_prices) AND notEmpty(d.ask_prices), exact(d.bid_prices[1], d.price_exponent), NULL) AS bid,
                if(d.valid AND notEmpty(d.bid_prices) AND notEmpty(d.ask_prices), exact(d.ask_prices[1], d.price_exponent), NULL) AS ask
            FROM depth AS d
            WHERE d.symbol = {symbol:String} AND d.venue LIKE {venue:String}
                AND d.received_time >= {since:DateTime64(9, 'UTC')} - toIntervalMillisecond({max_age_ms:UInt32})
                AND d.received_time < {until:DateTime64(9, 'UTC')}
            UNION ALL
            SELECT
                s.venue AS venue,
                (1, s._offset) AS number,
                s.window_end AS time,
                if(s.valid AND s.best_ask IS NOT NULL, exact(s.best_bid, s.price_exponent), NULL) AS bid,
                if(s.valid AND s.best_bid IS NOT NULL, exact(s.best_ask, s.price_exponent), NULL) AS ask
            FROM stats AS s
            WHERE s.symbol = {symbol:String} AND s.venue LIKE {venue:String}
                AND s.window_start >= {since:DateTime64(9, 'UTC')} - toIntervalMillisecond({max_age_ms:UInt32}) - toIntervalMinute(1)
                AND s.window_end < {until:DateTime64(9, 'UTC')}
            UNION ALL
            SELECT
                q.venue AS venue,
                (2, q._offset) AS number,
                q.received_time AS time,
                if(q.bid_price > 0 AND q.ask_price > 0, exact(q.bid_price, q.price_exponent), NULL) AS bid,
                if(q.bid_price > 0 AND q.ask_price > 0, exact(q.ask_price, q.price_exponent), NULL) AS ask
            FROM quotes AS q
            WHERE q.symbol = {symbol:String} AND q.venue LIKE {venue:String}
                AND q.received_time >= {since:DateTime64(9, 'UTC')} - toIntervalMillisecond({max_age_ms:UInt32})
                AND q.received_time < {until:DateTime64(9, 'UTC')}
        ) AS a
        GROUP BY venue, time
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
