-- Top of book and spreads, from the sampled md.depth ([clickhouse] depth_interval_ms) and the quotes.

-- The sampled records with exact decimals. A book that is not valid has empty sides.
CREATE OR REPLACE VIEW v_depth AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    t.valid AS valid,
    t.epoch AS epoch,
    t.sequence AS sequence,
    t.exchange_time AS exchange_time,
    t.received_time AS received_time,
    arrayMap(m -> exact(m, t.price_exponent), t.bid_prices) AS bid_prices,
    arrayMap(m -> exact(m, t.size_exponent), t.bid_sizes) AS bid_sizes,
    arrayMap(m -> exact(m, t.price_exponent), t.ask_prices) AS ask_prices,
    arrayMap(m -> exact(m, t.size_exponent), t.ask_sizes) AS ask_sizes
FROM depth AS t;

-- One row per instrument and second with a record: the last of it, whichever of them were stored, and however often.
-- NULL: a side without levels (or a quote without a price), or a book that is not valid.
CREATE OR REPLACE VIEW v_top_of_book AS
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    s.venue AS venue,
    s.symbol AS symbol,
    s.second AS second,
    tupleElement(s.top, 'valid') AS valid,
    exact(tupleElement(s.top, 'bid'), tupleElement(s.top, 'price_exponent')) AS bid,
    exact(tupleElement(s.top, 'bid_size'), tupleElement(s.top, 'size_exponent')) AS bid_size,
    exact(tupleElement(s.top, 'ask'), tupleElement(s.top, 'price_exponent')) AS ask,
    exact(tupleElement(s.top, 'ask_size'), tupleElement(s.top, 'size_exponent')) AS ask_size,
    ask - bid AS spread,
    bid + spread / 2 AS mid,
    if(bid + ask = 0, NULL, 20000 * toFloat64(spread) / toFloat64(bid + ask)) AS spread_basis_points,
    s.newest AS received_time
FROM
(
    SELECT
        venue,
        symbol,
        toStartOfSecond(received_time) AS second,
        argMax(
            CAST(
                (valid, if(empty(bid_prices), NULL, bid_prices[1]), if(empty(bid_sizes), NULL, bid_sizes[1]), if(empty(ask_prices), NULL, ask_prices[1]), if(empty(ask_sizes), NULL, ask_sizes[1]), price_exponent, size_exponent),
                'Tuple(valid Bool, bid Nullable(Int64), bid_size Nullable(Int64), ask Nullable(Int64), ask_size Nullable(Int64), price_exponent Int32, size_exponent Int32)'
            ),
            (received_time, _offset)
        ) AS top,
        max(received_time) AS newest
    FROM depth
    GROUP BY venue, symbol, second
    UNION ALL
    SELECT
        venue,
        symbol,
        toStartOfSecond(received_time) AS second,
        argMax(
            CAST(
                (true, nullIf(bid_price, 0), bid_size, nullIf(ask_price, 0), ask_size, price_exponent, size_exponent),
                'Tuple(valid Bool, bid Nullable(Int64), bid_size Nullable(Int64), ask Nullable(Int64), ask_size Nullable(Int64), price_exponent Int32, size_exponent Int32)'
            ),
            (received_time, _offset)
        ) AS top,
        max(received_time) AS newest
    FROM quotes
    GROUP BY venue, symbol, second
) AS s;

-- Spreads per interval of whole seconds: SELECT … FROM v_spreads(seconds = 60) WHERE …
-- Of the seconds in which both sides were there (samples); the last bid and ask of them.
CREATE OR REPLACE VIEW v_spreads AS
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    toStartOfInterval(t.second, toIntervalSecond({seconds:UInt32})) AS open_time,
    count() AS samples,
    min(assumeNotNull(t.spread)) AS min_spread,
    sum(assumeNotNull(t.spread)) / samples AS mean_spread,
    max(assumeNotNull(t.spread)) AS max_spread,
    avg(assumeNotNull(t.spread_basis_points)) AS mean_spread_basis_points,
    argMax(assumeNotNull(t.bid), t.second) AS bid,
    argMax(assumeNotNull(t.ask), t.second) AS ask
FROM v_top_of_book AS t
WHERE isNotNull(t.spread)
GROUP BY venue, symbol, open_time;
