-- The full book of an instrument at an instant.
--
-- The last size of each price in the epoch that was current then; nothing is replayed. book_time is the time of the last
-- record: what is older than some seconds was not confirmed any more. No rows: there was no valid book. It fails where the
-- table lacks records of the epoch.
--
-- parameter venue String: the venue
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter at DateTime64(9, 'UTC') = 2200-01-01: the instant; by default the newest book
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    last AS
    (
        SELECT l.kind AS kind, l.epoch AS epoch, l.sequence AS sequence, l.received_time AS time
        FROM l2 AS l
        WHERE l.venue = {venue:String} AND l.symbol = {symbol:String} AND l.received_time <= {at:DateTime64(9, 'UTC')}
        ORDER BY l.received_time DESC, l.epoch DESC, l.sequence DESC, l.kind = 'HEARTBEAT' DESC
        LIMIT 1
    ),
    updates AS
    (
        SELECT l.sequence AS sequence, l.price_exponent AS price_exponent, l.size_exponent AS size_exponent,
            l.bid_prices AS bid_prices, l.bid_sizes AS bid_sizes, l.ask_prices AS ask_prices, l.ask_sizes AS ask_sizes
        FROM l2 AS l
        WHERE l.venue = {venue:String} AND l.symbol = {symbol:String} AND l.kind IN ('SNAPSHOT', 'DELTA')
            AND l.epoch = (SELECT any(epoch) FROM last) AND l.sequence <= (SELECT any(sequence) FROM last)
            AND l.received_time >= fromUnixTimestamp64Nano((SELECT any(epoch) FROM last), 'UTC') - toIntervalMinute(1)
            AND l.received_time <= {at:DateTime64(9, 'UTC')} AND (SELECT any(kind) FROM last) != 'INVALID'
    ),
    (SELECT uniqExact(sequence) FROM updates) AS found
SELECT
    b.side AS side,
    row_number() OVER (PARTITION BY b.side ORDER BY if(b.side = 'BID', -b.price, b.price)) AS level,
    exact(b.price, b.price_exponent) AS price,
    exact(b.size, b.size_exponent) AS size,
    (SELECT any(time) FROM last) AS book_time
FROM
(
    SELECT
        tupleElement(change, 1) AS side,
        tupleElement(change, 2) AS price,
        argMax(tupleElement(change, 3), u.sequence) AS size,
        any(u.price_exponent) AS price_exponent,
        any(u.size_exponent) AS size_exponent
    FROM updates AS u
    ARRAY JOIN arrayConcat(
        arrayMap((p, s) -> tuple('BID', p, s), u.bid_prices, u.bid_sizes),
        arrayMap((p, s) -> tuple('ASK', p, s), u.ask_prices, u.ask_sizes)
    ) AS change
    GROUP BY side, price
    HAVING size != 0
) AS b
WHERE NOT throwIf(b.size != 0 AND found != (SELECT any(sequence) FROM last) + 1, 'the table lacks records of this epoch: the book cannot be rebuilt')
ORDER BY side DESC, level
