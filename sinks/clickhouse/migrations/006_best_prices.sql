-- Best bid and ask as they became known, for whatever joins trades to the book or weighs spreads by time; and candles
-- at any interval of whole milliseconds.

-- One row per instrument and instant: of depth (what the sink stores of it), of stats (the end of each second) and of quotes
-- (venues without books); of two that are of one instant, depth and quotes count before stats, and the later record.
-- NULL: a book that is not valid, or a side that is empty.
CREATE OR REPLACE VIEW v_best_prices AS
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    b.venue AS venue,
    b.symbol AS symbol,
    b.time AS time,
    tupleElement(argMax((b.bid, b.ask), b.number), 1) AS bid,
    tupleElement(argMax((b.bid, b.ask), b.number), 2) AS ask
FROM
(
    SELECT
        venue,
        symbol,
        received_time AS time,
        (2, _offset) AS number,
        if(valid AND notEmpty(bid_prices) AND notEmpty(ask_prices), exact(bid_prices[1], price_exponent), NULL) AS bid,
        if(valid AND notEmpty(bid_prices) AND notEmpty(ask_prices), exact(ask_prices[1], price_exponent), NULL) AS ask
    FROM depth
    UNION ALL
    SELECT
        venue,
        symbol,
        window_end AS time,
        (1, _offset) AS number,
        if(valid AND best_ask IS NOT NULL, exact(best_bid, price_exponent), NULL) AS bid,
        if(valid AND best_bid IS NOT NULL, exact(best_ask, price_exponent), NULL) AS ask
    FROM stats
    UNION ALL
    SELECT
        venue,
        symbol,
        received_time AS time,
        (2, _offset) AS number,
        if(bid_price > 0 AND ask_price > 0, exact(bid_price, price_exponent), NULL) AS bid,
        if(bid_price > 0 AND ask_price > 0, exact(ask_price, price_exponent), NULL) AS ask
    FROM quotes
) AS b
GROUP BY venue, symbol, time;

-- The rows of stats are in the order of the beginnings of their windows; the view asks for their ends.
ALTER TABLE stats ADD INDEX IF NOT EXISTS window_end window_end TYPE minmax GRANULARITY 1;

ALTER TABLE stats MATERIALIZE INDEX window_end;
