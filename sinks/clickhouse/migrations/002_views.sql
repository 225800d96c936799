-- The same rows with real prices and sizes: exact Decimal(76, 18), never a float. The mantissa is widened to 18
-- decimals first, so that the division by a power of ten has no remainder. Exact for every Int64 mantissa at exponents
-- from -18 to 18; an exponent beyond that makes the query fail and say so, it never gives a wrong number.
-- A product (price * size) has 36 decimals and still 40 digits before the point.

CREATE OR REPLACE VIEW v_trades AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    t.trade_id AS trade_id,
    t.side AS side,
    exact(t.price, t.price_exponent) AS price,
    exact(t.size, t.size_exponent) AS size,
    exact(t.price, t.price_exponent) * exact(t.size, t.size_exponent) AS notional,
    t.exchange_time AS exchange_time,
    t.received_time AS received_time
FROM trades AS t;

CREATE OR REPLACE VIEW v_l2 AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    t.kind AS kind,
    t.epoch AS epoch,
    t.sequence AS sequence,
    t.exchange_sequence AS exchange_sequence,
    t.exchange_time AS exchange_time,
    t.received_time AS received_time,
    arrayMap(m -> exact(m, t.price_exponent), t.bid_prices) AS bid_prices,
    arrayMap(m -> exact(m, t.size_exponent), t.bid_sizes) AS bid_sizes,
    arrayMap(m -> exact(m, t.price_exponent), t.ask_prices) AS ask_prices,
    arrayMap(m -> exact(m, t.size_exponent), t.ask_sizes) AS ask_sizes,
    t.checksum AS checksum
FROM l2 AS t;

-- One row per level that a record names; a size of 0 deletes the level.
CREATE OR REPLACE VIEW v_l2_levels AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    t.kind AS kind,
    t.epoch AS epoch,
    t.sequence AS sequence,
    t.exchange_time AS exchange_time,
    t.received_time AS received_time,
    tupleElement(level, 1) AS side,
    exact(tupleElement(level, 2), t.price_exponent) AS price,
    exact(tupleElement(level, 3), t.size_exponent) AS size
FROM l2 AS t
ARRAY JOIN arrayConcat(
    arrayMap((p, s) -> tuple('BID', p, s), t.bid_prices, t.bid_sizes),
    arrayMap((p, s) -> tuple('ASK', p, s), t.ask_prices, t.ask_sizes)
) AS level;

CREATE OR REPLACE VIEW v_quotes AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    exact(t.bid_price, t.price_exponent) AS bid_price,
    exact(t.bid_size, t.size_exponent) AS bid_size,
    exact(t.ask_price, t.price_exponent) AS ask_price,
    exact(t.ask_size, t.size_exponent) AS ask_size,
    t.exchange_time AS exchange_time,
    t.received_time AS received_time
FROM quotes AS t;

-- The latest revision of each candle.
CREATE OR REPLACE VIEW v_candles AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    intDiv(t.interval, 1000000000) AS interval_seconds,
    t.open_time AS open_time,
    exact(t.open, t.price_exponent) AS open,
    exact(t.high, t.price_exponent) AS high,
    exact(t.low, t.price_exponent) AS low,
    exact(t.close, t.price_exponent) AS close,
    exact(t.volume, t.size_exponent) AS volume,
    toDecimal256(t.quote_volume, 36) AS quote_volume,
    exact(t.vwap, t.vwap_exponent) AS vwap,
    t.trades AS trades,
    t.revision AS revision,
    t.received_time AS received_time
FROM
(
    SELECT *
    FROM candles
    ORDER BY venue, symbol, interval, open_time, revision DESC, received_time DESC
    LIMIT 1 BY venue, symbol, interval, open_time
) AS t;

CREATE OR REPLACE VIEW v_stats AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.venue AS venue,
    t.symbol AS symbol,
    t.window_start AS window_start,
    t.window_end AS window_end,
    t.valid AS valid,
    t.snapshots AS snapshots,
    t.deltas AS deltas,
    t.level_changes AS level_changes,
    t.levels_added AS levels_added,
    t.levels_updated AS levels_updated,
    t.levels_removed AS levels_removed,
    t.trades AS trades,
    t.bid_levels AS bid_levels,
    t.ask_levels AS ask_levels,
    exact(t.best_bid, t.price_exponent) AS best_bid,
    exact(t.best_ask, t.price_exponent) AS best_ask,
    t.latency_max / 1000000. AS latency_max_ms,
    t.latency_mean / 1000000. AS latency_mean_ms
FROM stats AS t;

CREATE OR REPLACE VIEW v_arbitrage AS
WITH (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact
SELECT
    t.opportunity_id AS opportunity_id,
    t.state AS state,
    t.symbol AS symbol,
    t.buy_venue AS buy_venue,
    t.sell_venue AS sell_venue,
    exact(t.buy_price, t.price_exponent) AS buy_price,
    exact(t.sell_price, t.price_exponent) AS sell_price,
    exact(t.buy_limit_price, t.price_exponent) AS buy_limit_price,
    exact(t.sell_limit_price, t.price_exponent) AS sell_limit_price,
    exact(t.size, t.size_exponent) AS size,
    toDecimal256(t.gross_profit, 36) AS gross_profit,
    toDecimal256(t.net_profit, 36) AS net_profit,
    t.net_basis_points AS net_basis_points,
    t.opened_time AS opened_time,
    t.updated_time AS updated_time,
    t.close_reason AS close_reason
FROM arbitrage AS t;
