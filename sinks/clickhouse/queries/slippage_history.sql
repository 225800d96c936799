-- Slippage of a market order of a size over time, by venue and interval.
--
-- From the best levels in depth, so only where the sink writes md.depth ([clickhouse] topics). Each of its rows counts
-- once. slippage_bps is the mean distance of the mean price from the middle of the book, as in depth_and_slippage, over the rows
-- whose levels suffice for the size; filled_share says how many these are.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter size Float64: of the order, in units of the base
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter seconds Decimal(18, 3) = 60: length of an interval
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
WITH
    toInt64({seconds:Decimal(18, 3)} * 1000000000) AS step,
    (prices, sizes) -> arraySum((p, s, c) -> p * greatest(least(s, {size:Float64} - (c - s)), 0), prices, sizes, arrayCumSum(sizes)) / {size:Float64} AS mean_price,
    books AS
    (
        SELECT
            d.venue AS venue,
            intDiv(toUnixTimestamp64Nano(d.received_time), step + throwIf(step <= 0, 'seconds: a positive number is expected')) * step AS start,
            pow(10, d.price_exponent) AS tick,
            pow(10, d.size_exponent) AS lot,
            arrayMap(p -> p * tick, d.bid_prices) AS bids,
            arrayMap(p -> p * tick, d.ask_prices) AS asks,
            arrayMap(s -> s * lot, d.bid_sizes) AS bid_sizes,
            arrayMap(s -> s * lot, d.ask_sizes) AS ask_sizes,
            (bids[1] + asks[1]) / 2 AS mid
        FROM depth AS d
        WHERE d.symbol = {symbol:String} AND d.venue LIKE {venue:String} AND d.valid AND notEmpty(d.bid_prices) AND notEmpty(d.ask_prices)
            AND d.received_time >= {since:DateTime64(9, 'UTC')} AND d.received_time < {until:DateTime64(9, 'UTC')}
    )
SELECT
    b.venue AS venue,
    fromUnixTimestamp64Nano(b.start, 'UTC') AS start,
    round(avgOrNullIf((mean_price(b.asks, b.ask_sizes) / b.mid - 1) * 10000, arraySum(b.ask_sizes) >= {size:Float64}), 6) AS buy_slippage_bps,
    round(avgOrNullIf((1 - mean_price(b.bids, b.bid_sizes) / b.mid) * 10000, arraySum(b.bid_sizes) >= {size:Float64}), 6) AS sell_slippage_bps,
    round(avg(arraySum(b.ask_sizes) >= {size:Float64}), 6) AS buy_filled_share,
    round(avg(arraySum(b.bid_sizes) >= {size:Float64}), 6) AS sell_filled_share,
    count() AS books
FROM books AS b
GROUP BY venue, start
ORDER BY start, venue
