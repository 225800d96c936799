-- What a market order of a size would have paid on each venue at an instant, and how deep the books were.
--
-- A purchase takes the asks from the best one up, a sale the bids down, to the end of the book: filled is less than the size
-- where it does not suffice. slippage_bps is the mean price's distance from the middle of the book; fees are not in it.
-- depth is the size within within_bps of the middle. book_time as in book_at. A venue without a valid book has no
-- rows, nor has one of whose epoch records are missing.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter size Decimal(38, 18): of the order, in units of the base
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter at DateTime64(9, 'UTC') = 2200-01-01: the instant; by default the newest books
-- parameter within_bps Float64 = 10: depth is counted up to this distance from the middle
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    toDecimal256({size:Decimal(38, 18)}, 18) AS wanted,
    last AS
    (
        SELECT l.venue AS venue, l.kind AS kind, l.epoch AS epoch, l.sequence AS sequence, l.received_time AS time
        FROM l2 AS l
        WHERE l.venue LIKE {venue:String} AND l.symbol = {symbol:String} AND l.received_time <= {at:DateTime64(9, 'UTC')}
        ORDER BY l.venue, l.received_time DESC, l.epoch DESC, l.sequence DESC, l.kind = 'HEARTBEAT' DESC
        LIMIT 1 BY l.venue
    ),
    updates AS
    (
        SELECT l.venue AS venue, l.sequence AS sequence, l.price_exponent AS price_exponent, l.size_exponent AS size_exponent,
            l.bid_prices AS bid_prices, l.bid_sizes AS bid_sizes, l.ask_prices AS ask_prices, l.ask_sizes AS ask_sizes
        FROM l2 AS l
        INNER JOIN last AS e ON l.venue = e.venue AND l.epoch = e.epoch
        WHERE l.venue LIKE {venue:String} AND l.symbol = {symbol:String} AND l.kind IN ('SNAPSHOT', 'DELTA')
            AND l.received_time >= fromUnixTimestamp64Nano((SELECT min(epoch) FROM last), 'UTC') - toIntervalMinute(1)
            AND l.received_time <= {at:DateTime64(9, 'UTC')} AND l.sequence <= e.sequence AND e.kind != 'INVALID'
    ),
    levels AS
    (
        SELECT
            u.venue AS venue,
            tupleElement(change, 1) AS side,
            tupleElement(change, 2) AS mantissa,
            argMax(tupleElement(change, 3), u.sequence) AS size_mantissa,
            exact(mantissa, any(u.price_exponent)) AS price,
            exact(size_mantissa, any(u.size_exponent)) AS size
        FROM updates AS u
        ARRAY JOIN arrayConcat(
            arrayMap((p, s) -> tuple('SELL', p, s), u.bid_prices, u.bid_sizes),
            arrayMap((p, s) -> tuple('BUY', p, s), u.ask_prices, u.ask_sizes)
        ) AS change
        GROUP BY venue, side, mantissa
        HAVING size_mantissa != 0
    ),
    books AS
    (
        SELECT v.venue AS venue, maxIf(v.price, v.side = 'SELL') AS bid, minIf(v.price, v.side = 'BUY') AS ask
        FROM levels AS v
        WHERE v.venue IN
        (
            SELECT u.venue FROM updates AS u INNER JOIN last AS e ON u.venue = e.venue
            GROUP BY u.venue HAVING uniqExact(u.sequence) = any(e.sequence) + 1
        )
        GROUP BY venue
        HAVING countIf(v.side = 'SELL') > 0 AND countIf(v.side = 'BUY') > 0
    ),
    swept AS
    (
        SELECT
            v.venue AS venue, v.side AS side, v.price AS price, v.size AS size, b.bid AS bid, b.ask AS ask,
            sum(v.size) OVER (PARTITION BY v.venue, v.side ORDER BY if(v.side = 'BUY', v.price, -v.price) ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS reached,
            greatest(least(v.size, wanted - reached + v.size), toDecimal256(0, 18)) AS taken
        FROM levels AS v
        INNER JOIN books AS b ON v.venue = b.venue
    )
SELECT
    s.venue AS venue,
    s.side AS side,
    any(s.bid) AS bid,
    any(s.ask) AS ask,
    sum(s.taken) AS filled,
    toDecimal256(divideDecimal(sum(s.price * s.taken), filled + throwIf(wanted <= 0, 'size: a positive number is expected'), 18), 18) AS mean_price,
    if(side = 'BUY', maxIf(s.price, s.taken > 0), minIf(s.price, s.taken > 0)) AS last_price,
    countIf(s.taken > 0) AS levels,
    round(abs(toFloat64(mean_price) / (toFloat64(any(s.bid) + any(s.ask)) / 2) - 1) * 10000, 6) AS slippage_bps,
    sumIf(s.size, abs(toFloat64(s.price) / (toFloat64(s.bid + s.ask) / 2) - 1) * 10000 <= {within_bps:Float64}) AS depth,
    any(e.time) AS book_time
FROM swept AS s
INNER JOIN last AS e ON s.venue = e.venue
GROUP BY venue, side
ORDER BY side, mean_price * if(side = 'BUY', 1, -1), venue
