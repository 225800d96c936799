-- How long records take from the exchange to us, by venue and kind of record: percentiles in milliseconds.
--
-- The time we received a record less the time the exchange gives it; it includes the difference of the two clocks, and may
-- be negative. Records without a time of the exchange do not count. Percentiles are interpolated between neighbours.
--
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter symbol String = %: symbols, as a pattern of LIKE
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
SELECT
    r.venue AS venue,
    r.kind AS kind,
    count() AS records,
    min(r.ms) AS least_ms,
    round(quantileExactInclusive(0.5)(r.ms), 6) AS p50_ms,
    round(quantileExactInclusive(0.9)(r.ms), 6) AS p90_ms,
    round(quantileExactInclusive(0.99)(r.ms), 6) AS p99_ms,
    max(r.ms) AS most_ms
FROM
(
    SELECT t.venue AS venue, 'trade' AS kind, (toUnixTimestamp64Nano(t.received_time) - toUnixTimestamp64Nano(t.exchange_time)) / 1000000 AS ms
    FROM trades AS t
    WHERE t.venue LIKE {venue:String} AND t.symbol LIKE {symbol:String} AND t.exchange_time > toDateTime64(0, 9, 'UTC')
        AND t.received_time >= {since:DateTime64(9, 'UTC')} AND t.received_time < {until:DateTime64(9, 'UTC')}
    UNION ALL
    SELECT l.venue AS venue, 'book' AS kind, (toUnixTimestamp64Nano(l.received_time) - toUnixTimestamp64Nano(l.exchange_time)) / 1000000 AS ms
    FROM l2 AS l
    WHERE l.venue LIKE {venue:String} AND l.symbol LIKE {symbol:String} AND l.exchange_time > toDateTime64(0, 9, 'UTC') AND l.kind = 'DELTA'
        AND l.received_time >= {since:DateTime64(9, 'UTC')} AND l.received_time < {until:DateTime64(9, 'UTC')}
    UNION ALL
    SELECT q.venue AS venue, 'quote' AS kind, (toUnixTimestamp64Nano(q.received_time) - toUnixTimestamp64Nano(q.exchange_time)) / 1000000 AS ms
    FROM quotes AS q
    WHERE q.venue LIKE {venue:String} AND q.symbol LIKE {symbol:String} AND q.exchange_time > toDateTime64(0, 9, 'UTC')
        AND q.received_time >= {since:DateTime64(9, 'UTC')} AND q.received_time < {until:DateTime64(9, 'UTC')}
) AS r
GROUP BY venue, kind
ORDER BY venue, kind
