-- Candles tell which trades they stand for, and whether earlier ones may be missing.

ALTER TABLE candles ADD COLUMN IF NOT EXISTS first_trade_time DateTime64(9, 'UTC') DEFAULT 0 CODEC(Delta, T64, ZSTD) AFTER received_time;
ALTER TABLE candles ADD COLUMN IF NOT EXISTS last_trade_time DateTime64(9, 'UTC') DEFAULT 0 CODEC(Delta, T64, ZSTD) AFTER first_trade_time;
ALTER TABLE candles ADD COLUMN IF NOT EXISTS partial Bool DEFAULT false CODEC(ZSTD) AFTER last_trade_time;

-- One row per candle. A log's life (_incarnation) counts its revisions for itself, so the highest of each life is
-- taken. Parts of one interval from several lives (a stack on the in-memory broker that was stopped and started again
-- within it) are joined where their trades follow one another, that is where no part begins before the one before it
-- has ended; else the one of most trades is taken. Either way the candle is partial: of the time between two lives
-- nothing is known. Text of more than 36 decimals fails instead of being cut.
CREATE OR REPLACE VIEW v_candles AS
WITH
    (m, e) -> toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS exact,
    text -> toDecimal256(text, 36) + throwIf(length(splitByChar('.', text)[2]) > 36, 'more than 36 decimals: use the text of the table') AS exact_text
SELECT
    c.venue AS venue,
    c.symbol AS symbol,
    intDiv(c.interval, 1000000000) AS interval_seconds,
    c.open_time AS open_time,
    tupleElement(c.parts[1], 'open') AS open,
    arrayMax(arrayMap(part -> tupleElement(part, 'high'), c.parts)) AS high,
    arrayMin(arrayMap(part -> tupleElement(part, 'low'), c.parts)) AS low,
    tupleElement(c.parts[-1], 'close') AS close,
    arraySum(arrayMap(part -> tupleElement(part, 'volume'), c.parts)) AS volume,
    arraySum(arrayMap(part -> tupleElement(part, 'quote_volume'), c.parts)) AS quote_volume,
    if(length(c.parts) = 1, tupleElement(c.parts[1], 'vwap'), if(volume = 0, close, toDecimal256(divideDecimal(quote_volume, volume, 18), 18))) AS vwap,
    arraySum(arrayMap(part -> tupleElement(part, 'trades'), c.parts)) AS trades,
    tupleElement(c.parts[-1], 'revision') AS revision,
    arrayMax(arrayMap(part -> tupleElement(part, 'received_time'), c.parts)) AS received_time,
    c.lives > 1 OR tupleElement(c.parts[1], 'partial') AS partial
FROM
(
    SELECT
        venue,
        symbol,
        interval,
        open_time,
        arraySort(part -> tuple(tupleElement(part, 'first_trade_time'), tupleElement(part, 'received_time')), groupArray(CAST(
            tuple(
                first_trade_time,
                last_trade_time,
                exact(open, price_exponent),
                exact(high, price_exponent),
                exact(low, price_exponent),
                exact(close, price_exponent),
                exact(volume, size_exponent),
                exact_text(quote_volume),
                exact(vwap, vwap_exponent),
                trades,
                revision,
                received_time,
                partial
            ),
            'Tuple(first_trade_time DateTime64(9, \'UTC\'), last_trade_time DateTime64(9, \'UTC\'), open Decimal(76, 18), high Decimal(76, 18), low Decimal(76, 18), close Decimal(76, 18), volume Decimal(76, 18), quote_volume Decimal(76, 36), vwap Decimal(76, 18), trades Int64, revision Int32, received_time DateTime64(9, \'UTC\'), partial Bool)'
        ))) AS all_parts,
        length(all_parts) AS lives,
        lives = 1 OR arrayAll(
            i -> tupleElement(all_parts[i], 'last_trade_time') < tupleElement(all_parts[i + 1], 'first_trade_time'),
            arrayEnumerate(arraySlice(all_parts, 2))
        ) AS follow,
        if(follow, all_parts, [arraySort(part -> tuple(-tupleElement(part, 'trades'), -toInt64(toUnixTimestamp64Nano(tupleElement(part, 'received_time')))), all_parts)[1]]) AS parts
    FROM
    (
        SELECT *
        FROM candles
        ORDER BY venue, symbol, interval, open_time, _incarnation, revision DESC, received_time DESC
        LIMIT 1 BY venue, symbol, interval, open_time, _incarnation
    )
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
