-- The minutes with most records, and the busiest second in each.
--
-- Records are trades, updates of books (heartbeats excluded) and quotes, by the time at which we received them.
--
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter symbol String = %: symbols, as a pattern of LIKE
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
-- parameter limit UInt32 = 10: how many minutes
SELECT
    toDateTime64(toStartOfMinute(s.second), 3, 'UTC') AS minute,
    sum(s.trades) AS trades,
    sum(s.updates) AS updates,
    sum(s.level_changes) AS level_changes,
    sum(s.quotes) AS quotes,
    sum(s.trades + s.updates + s.quotes) AS records,
    max(s.trades + s.updates + s.quotes) AS peak_per_second
FROM
(
    SELECT second, sum(trades) AS trades, sum(updates) AS updates, sum(level_changes) AS level_changes, sum(quotes) AS quotes
    FROM
    (
        SELECT toDateTime(t.received_time, 'UTC') AS second, count() AS trades, 0 AS updates, 0 AS level_changes, 0 AS quotes
        FROM trades AS t
        WHERE t.venue LIKE {venue:String} AND t.symbol LIKE {symbol:String}
            AND t.received_time >= {since:DateTime64(9, 'UTC')} AND t.received_time < {until:DateTime64(9, 'UTC')}
        GROUP BY second
        UNION ALL
        SELECT toDateTime(l.received_time, 'UTC') AS second, 0, count(), sum(length(l.bid_prices) + length(l.ask_prices)), 0
        FROM l2 AS l
        WHERE l.venue LIKE {venue:String} AND l.symbol LIKE {symbol:String} AND l.kind != 'HEARTBEAT'
            AND l.received_time >= {since:DateTime64(9, 'UTC')} AND l.received_time < {until:DateTime64(9, 'UTC')}
        GROUP BY second
        UNION ALL
        SELECT toDateTime(q.received_time, 'UTC') AS second, 0, 0, 0, count()
        FROM quotes AS q
        WHERE q.venue LIKE {venue:String} AND q.symbol LIKE {symbol:String}
            AND q.received_time >= {since:DateTime64(9, 'UTC')} AND q.received_time < {until:DateTime64(9, 'UTC')}
        GROUP BY second
    )
    GROUP BY second
) AS s
GROUP BY minute
ORDER BY records DESC, minute
LIMIT {limit:UInt32}
