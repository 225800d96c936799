-- Arbitrage opportunities by pair of venues: how many, how long they lasted, what they were worth.
--
-- An opportunity lasts from its opening to its closing; open ones count in open only. profit is the net profit at its best
-- moment: best_profit of the best opportunity, profit of all of the pair.
--
-- parameter symbol String = %: symbols, as a pattern of LIKE
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
SELECT
    o.symbol AS symbol,
    o.buy_venue AS buy_venue,
    o.sell_venue AS sell_venue,
    countIf(o.closed) AS opportunities,
    countIf(NOT o.closed) AS open,
    round(quantileExactInclusiveOrNullIf(0.5)(o.milliseconds, o.closed), 6) AS median_ms,
    round(quantileExactInclusiveOrNullIf(0.9)(o.milliseconds, o.closed), 6) AS p90_ms,
    maxOrNullIf(o.milliseconds, o.closed) AS longest_ms,
    round(sumIf(o.milliseconds, o.closed) / 1000, 9) AS total_seconds,
    max(o.profit) AS best_profit,
    sum(o.profit) AS profit
FROM
(
    SELECT
        a.symbol AS symbol,
        a.buy_venue AS buy_venue,
        a.sell_venue AS sell_venue,
        countIf(a.state = 'CLOSED') > 0 AS closed,
        (toUnixTimestamp64Nano(maxIf(a.updated_time, a.state = 'CLOSED')) - toUnixTimestamp64Nano(min(a.opened_time))) / 1000000 AS milliseconds,
        max(a.net_profit) AS profit
    FROM v_arbitrage AS a
    WHERE a.symbol LIKE {symbol:String}
        AND a.opened_time >= {since:DateTime64(9, 'UTC')} AND a.opened_time < {until:DateTime64(9, 'UTC')}
    GROUP BY a.opportunity_id, symbol, buy_venue, sell_venue
) AS o
GROUP BY symbol, buy_venue, sell_venue
ORDER BY total_seconds DESC, symbol, buy_venue, sell_venue
