-- The best levels of an instrument's newest book.
--
-- The newest row of depth: as many levels as the sink stores ([clickhouse] depth_levels), of the last record of a second.
-- book_time says when it was received: what is older than some seconds was not confirmed any more. No rows: the book was not valid then. The
-- whole book, exact to the record: book_at. Venues without books have quotes: v_quotes.
--
-- parameter venue String: the venue
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    -- Parts without rows of the newest minute are not opened. An instrument without a row in it has its newest one anywhere: since 1970.
    least((SELECT max(received_time) FROM depth), {until:DateTime64(9, 'UTC')}) - toIntervalSecond(60) AS recent,
    (
        SELECT max(received_time) FROM depth
        WHERE venue = {venue:String} AND symbol = {symbol:String} AND received_time < {until:DateTime64(9, 'UTC')} AND received_time >= recent
    ) AS newest
SELECT
    side,
    level,
    exact(mantissa, n.price_exponent) AS price,
    exact(amount, n.size_exponent) AS size,
    n.received_time AS book_time
FROM
(
    SELECT d.received_time, d.price_exponent, d.size_exponent, d.bid_prices, d.bid_sizes, d.ask_prices, d.ask_sizes
    FROM depth AS d
    WHERE d.venue = {venue:String} AND d.symbol = {symbol:String} AND d.received_time < {until:DateTime64(9, 'UTC')} AND d.received_time >= newest
    ORDER BY d.received_time DESC, d._offset DESC
    LIMIT 1
) AS n
ARRAY JOIN
    arrayConcat(arrayWithConstant(length(n.bid_prices), 'BID'), arrayWithConstant(length(n.ask_prices), 'ASK')) AS side,
    arrayConcat(arrayEnumerate(n.bid_prices), arrayEnumerate(n.ask_prices)) AS level,
    arrayConcat(n.bid_prices, n.ask_prices) AS mantissa,
    arrayConcat(n.bid_sizes, n.ask_sizes) AS amount
ORDER BY side DESC, level
