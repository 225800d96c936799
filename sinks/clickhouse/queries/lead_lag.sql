-- Which venue moves first: correlation of two venues' returns at a range of lags.
--
-- The price of a venue at the end of a step is that of its last trade (by the time we received it); a return is the difference of the logarithms
-- of two steps' prices. correlation at lag_ms is that of the first venue's return with the second's lag_ms later, over the
-- steps in which both have a price: if it is highest at a positive lag, the first venue leads.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter step_ms UInt32 = 100: length of a step
-- parameter lags UInt32 = 10: most steps that one venue may be behind the other
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    {step_ms:UInt32} + throwIf({step_ms:UInt32} = 0, 'step_ms: a positive number is expected') AS step,
    prices AS
    (
        SELECT
            t.venue AS venue,
            toInt64(intDiv(toUnixTimestamp64Milli(t.received_time), step)) AS number,
            log(toFloat64(argMax(exact(t.price, t.price_exponent), (t.received_time, t._offset)))) AS price
        FROM trades AS t
        WHERE t.symbol = {symbol:String} AND t.venue LIKE {venue:String}
            AND t.received_time >= {since:DateTime64(9, 'UTC')} AND t.received_time < {until:DateTime64(9, 'UTC')}
        GROUP BY venue, number
    ),
    returns AS
    (
        SELECT venue, number, price - lagInFrame(price, 1, price) OVER (PARTITION BY venue ORDER BY number ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS change
        FROM prices
    ),
    ends AS
    (
        SELECT venue, min(number) AS first, max(number) AS last FROM prices GROUP BY venue
    ),
    pairs AS
    (
        SELECT a.venue AS one, b.venue AS other, greatest(a.first, b.first) AS first, least(a.last, b.last) AS last, last - first AS steps
        FROM ends AS a CROSS JOIN ends AS b
        WHERE a.venue < b.venue AND last > first
    ),
    moments AS
    (
        SELECT
            p.one AS one, p.other AS other, p.first AS first, p.last AS last, p.steps AS steps, r.venue AS venue,
            sum(r.change) / p.steps AS mean, sqrt(sum(r.change * r.change) / p.steps - mean * mean) AS deviation
        FROM pairs AS p CROSS JOIN returns AS r
        WHERE (r.venue = p.one OR r.venue = p.other) AND r.number > p.first AND r.number <= p.last
        GROUP BY one, other, first, last, steps, venue
    ),
    lagged AS
    (
        SELECT x.venue AS one, y.venue AS other, lag, sum(x.change * y.change) AS product
        FROM (SELECT venue, number, change, arrayJoin(range(-toInt64({lags:UInt32}), toInt64({lags:UInt32}) + 1)) AS lag, number + lag AS met FROM returns) AS x
        INNER JOIN returns AS y ON y.number = x.met
        INNER JOIN pairs AS p ON p.one = x.venue AND p.other = y.venue
        WHERE x.number > p.first AND x.number <= p.last AND y.number > p.first AND y.number <= p.last
        GROUP BY one, other, lag
    )
SELECT
    a.one AS first_venue,
    a.other AS second_venue,
    l.lag * toInt64(step) AS lag_ms,
    round((l.product / a.steps - a.mean * b.mean) / (a.deviation * b.deviation), 6) AS correlation,
    a.steps AS steps
FROM moments AS a
INNER JOIN moments AS b ON a.one = b.one AND a.other = b.other
INNER JOIN lagged AS l ON l.one = a.one AND l.other = a.other
WHERE a.venue = a.one AND b.venue = b.other AND a.deviation > 0 AND b.deviation > 0
ORDER BY first_venue, second_venue, lag_ms
