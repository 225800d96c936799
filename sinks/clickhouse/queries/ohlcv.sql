-- Open, high, low, close, volume and volume-weighted price of trades, at any interval.
--
-- Intervals are by the time of the exchange, or by ours where it gives none, and begin at multiples of their length
-- since 1970. Each is whole, also the first, in which since lies. One without trades has no row. vwap is truncated to 18 decimals.
--
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter seconds Decimal(18, 3) = 60: length of an interval; 0.25 is a quarter of a second
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from the interval of this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: those that begin before this time
WITH toIntervalNanosecond(toInt64({seconds:Decimal(18, 3)} * 1000000000)) AS step
SELECT
    c.venue AS venue,
    c.open_time AS open_time,
    c.open AS open,
    c.high AS high,
    c.low AS low,
    c.close AS close,
    c.volume AS volume,
    if(c.volume = 0, NULL, c.vwap) AS vwap,
    c.trades AS trades
FROM v_ohlcv(seconds = {seconds:Decimal(18, 3)}) AS c
WHERE c.symbol = {symbol:String} AND c.venue LIKE {venue:String}
    AND c.open_time > {since:DateTime64(9, 'UTC')} - step AND c.open_time < {until:DateTime64(9, 'UTC')}
    AND NOT throwIf({seconds:Decimal(18, 3)} <= 0, 'seconds: a positive number is expected')
ORDER BY open_time, venue
