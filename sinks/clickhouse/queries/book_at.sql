-- The full book of an instrument at an instant.
--
-- The last size of each price in the epoch that was current then: of the newest whole book in books and of the records since.
-- book_time is the time of the last record: what is older than some seconds was not confirmed any more. No rows: there was no
-- valid book. It fails where the table lacks records of the epoch.
--
-- parameter venue String: the venue
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter at DateTime64(9, 'UTC') = 2200-01-01: the instant; by default the newest book
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    (
        SELECT (any(kind), any(epoch), any(sequence), any(time))
        FROM
        (
            SELECT l.kind AS kind, l.epoch AS epoch, l.sequence AS sequence, l.received_time AS time
            FROM l2 AS l
            WHERE l.venue = {venue:String} AND l.symbol = {symbol:String} AND l.received_time <= {at:DateTime64(9, 'UTC')}
            ORDER BY l.received_time DESC, l.epoch DESC, l.sequence DESC, l.kind = 'HEARTBEAT' DESC
            LIMIT 1
        )
    ) AS last,
    tupleElement(last, 2) AS current,
    tupleElement(last, 3) AS newest,
    (
        SELECT if(count() = 0, (toInt64(-1), fromUnixTimestamp64Nano(current, 'UTC')), (any(sequence), any(time)))
        FROM
        (
            SELECT k.sequence AS sequence, k.received_time AS time
            FROM books AS k
            WHERE k.venue = {venue:String} AND k.symbol = {symbol:String} AND k.epoch = current AND k.sequence <= newest
            ORDER BY k.sequence DESC
            LIMIT 1
        )
    ) AS base,
    tupleElement(base, 1) AS kept,
    updates AS
    (
        SELECT l.sequence AS sequence, l.price_exponent AS price_exponent, l.size_exponent AS size_exponent,
            l.bid_prices AS bid_prices, l.bid_sizes AS bid_sizes, l.ask_prices AS ask_prices, l.ask_sizes AS ask_sizes
        FROM l2 AS l
        WHERE l.venue = {venue:String} AND l.symbol = {symbol:String} AND l.kind IN ('SNAPSHOT', 'DELTA')
            AND l.epoch = current AND l.sequence > kept AND l.sequence <= newest
            AND l.received_time >= tupleElement(base, 2) - toIntervalMinute(1)
            AND l.received_time <= {at:DateTime64(9, 'UTC')} AND tupleElement(last, 1) != 'INVALID'
        UNION ALL
        SELECT sequence, price_exponent, size_exponent, bid_prices, bid_sizes, ask_prices, ask_sizes
        FROM
        (
            SELECT *
            FROM books AS k
            WHERE k.venue = {venue:String} AND k.symbol = {symbol:String} AND k.epoch = current AND k.sequence = kept
                AND tupleElement(last, 1) != 'INVALID'
            LIMIT 1
        )
    )
SELECT
    if(b.side = 1, 'BID', 'ASK') AS side,
    row_number() OVER (PARTITION BY b.side ORDER BY if(b.side = 1, -b.price, b.price)) AS level,
    exact(b.price, b.price_exponent) AS price,
    exact(b.size, b.size_exponent) AS size,
    tupleElement(last, 4) AS book_time
FROM
(
    SELECT side, price, size, price_exponent, size_exponent, max(found) OVER () AS records
    FROM
    (
        -- Side 0 is an entry that each record has, by which they are counted.
        SELECT
            tupleElement(change, 1) AS side,
            tupleElement(change, 2) AS price,
            argMax(tupleElement(change, 3), u.sequence) AS size,
            any(u.price_exponent) AS price_exponent,
            any(u.size_exponent) AS size_exponent,
            uniqExactIf(u.sequence, side = 0) AS found
        FROM updates AS u
        ARRAY JOIN arrayConcat(
            [tuple(0, toInt64(0), toInt64(1))],
            arrayMap((p, s) -> tuple(1, p, s), u.bid_prices, u.bid_sizes),
            arrayMap((p, s) -> tuple(2, p, s), u.ask_prices, u.ask_sizes)
        ) AS change
        GROUP BY side, price
        HAVING size != 0
    )
) AS b
WHERE b.side != 0
    AND NOT throwIf(b.side != 0 AND b.records != newest - greatest(kept, 0) + 1, 'the table lacks records of this epoch: the book cannot be rebuilt')
ORDER BY side DESC, level
