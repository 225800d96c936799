-- Candles tell which trades they stand for, and whether earlier ones may be missing.

ALTER TABLE candles ADD COLUMN IF NOT EXISTS first_trade_time DateTime64(9, 'UTC') DEFAULT 0 CODEC(Delta, T64, ZSTD) AFTER received_time;
ALTER TABLE candles ADD COLUMN IF NOT EXISTS last_trade_time DateTime64(9, 'UTC') DEFAULT 0 CODEC(Delta, T64, ZSTD) AFTER first_trade_time;
ALTER TABLE candles ADD COLUMN IF NOT EXISTS partial Bool DEFAULT false CODEC(ZSTD) AFTER last_trade_time;

-- One row per candle. A log's life (_incarnation) counts its revisions for itself, so the highest of each life is
-- taken, and what several lives know of one interval (a stack on the in-memory broker that was stopped and started again
-- within it) is joined: prices always, sums where the trades of each life follow those of the one before. Where they
-- overlap, because the venue repeated some, the sums are those of the life with most trades. Such a candle is partial:
-- of the time between two lives nothing is known. Text of more than 36 decimals fails instead of being cut.
CREATE OR REPLACE VIEW v_candles AS
SELECT
    c.venue AS venue,
    c.symbol AS symbol,
    intDiv(c.interval, 1000000000) AS interval_seconds,
    c.open_time AS open_time,
    c.open AS open,
    c.high AS high,
    c.low AS low,
    c.close AS close,
    if(c.follow, c.volume_of_all, tupleElement(c.most, 1)) AS volume,
    if(c.follow, c.quote_volume_of_all, tupleElement(c.most, 2)) AS quote_volume,
    if(c.lives = 1, c.vwap, if(volume = 0, c.close, toDecimal256(divideDecimal(quote_volume, volume, 18), 18))) AS vwap,
    if(c.follow, c.trades_of_all, tupleElement(c.most, 3)) AS trades,
    c.revision AS revision,
    c.received_time AS received_time,
    c.lives > 1 OR c.partial AS partial
FROM
(
    SELECT
        t.venue AS venue,
        t.symbol AS symbol,
        t.interval AS interval,
        t.open_time AS open_time,
        count() AS lives,
        argMin(t.open, (t.first_trade_time, t.received_time)) AS open,
        max(t.high) AS high,
        min(t.low) AS low,
        argMax(t.close, (t.last_trade_time, t.received_time)) AS close,
        sum(t.volume) AS volume_of_all,
        sum(t.quote_volume) AS quote_volume_of_all,
        sum(t.trades) AS trades_of_all,
        argMax((t.volume, t.quote_volume, t.trades), (t.trades, t.received_time)) AS most,
        any(t.vwap) AS vwap,
        argMax(t.revision, t.received_time) AS revision,
        max(t.received_time) AS received_time,
        max(t.partial) AS partial,
        arraySort(groupArray((t.first_trade_time, t.last_trade_time))) AS times,
        lives = 1 OR min(t.first_trade_time) > toDateTime64(0, 9, 'UTC') AND arrayAll(i -> tupleElement(times[i], 2) < tupleElement(times[i + 1], 1), range(1, lives)) AS follow
    FROM
    (
        WITH
            (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
            text -> toDecimal256(text, 36) + throwIf(length(splitByChar('.', text)[2]) > 36, 'more than 36 decimals: use the text of the table') AS exact_text
        SELECT
            r.venue AS venue,
            r.symbol AS symbol,
            r.interval AS interval,
            r.open_time AS open_time,
            exact(r.open, r.price_exponent) AS open,
            exact(r.high, r.price_exponent) AS high,
            exact(r.low, r.price_exponent) AS low,
            exact(r.close, r.price_exponent) AS close,
            exact(r.volume, r.size_exponent) AS volume,
            exact_text(r.quote_volume) AS quote_volume,
            exact(r.vwap, r.vwap_exponent) AS vwap,
            r.trades AS trades,
            r.revision AS revision,
            r.received_time AS received_time,
            r.first_trade_time AS first_trade_time,
            r.last_trade_time AS last_trade_time,
            r.partial AS partial
        FROM
        (
            SELECT *
            FROM candles
            ORDER BY venue, symbol, interval, open_time, _incarnation, revision DESC, received_time DESC
            LIMIT 1 BY venue, symbol, interval, open_time, _incarnation
        ) AS r
    ) AS t
    GROUP BY venue, symbol, interval, open_time
) AS c;

CREATE OR REPLACE VIEW v_arbitrage AS
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    text -> toDecimal256(text, 36) + throwIf(length(splitByChar('.', text)[2]) > 36, 'more than 36 decimals: use the text of the table') AS exact_text
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
    exact_text(t.gross_profit) AS gross_profit,
    exact_text(t.net_profit) AS net_profit,
    t.net_basis_points AS net_basis_points,
    t.opened_time AS opened_time,
    t.updated_time AS updated_time,
    t.close_reason AS close_reason
FROM arbitrage AS t;
