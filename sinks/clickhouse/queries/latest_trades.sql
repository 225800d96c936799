-- The newest trades of an instrument, the newest first.
--
-- By the time at which we received them. With until, those before it: pages into the past.
--
-- parameter venue String: the venue
-- parameter symbol String: the symbol, BASE-QUOTE or a ticker
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
-- parameter limit UInt32 = 100: how many
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.received_time AS received_time,
    t.exchange_time AS exchange_time,
    t.trade_id AS trade_id,
    t.side AS side,
    exact(t.price, t.price_exponent) AS price,
    exact(t.size, t.size_exponent) AS size
FROM trades AS t
WHERE t.venue = {venue:String} AND t.symbol = {symbol:String} AND t.received_time < {until:DateTime64(9, 'UTC')}
ORDER BY t.received_time DESC, t._offset DESC
LIMIT {limit:UInt32}
