-- What went wrong with the feeds: gaps and other losses by venue and day, and for how long books were not valid.
--
-- Events are counted by kind (docs/integrity.md). invalid_seconds is the sum over the venue's instruments from the end of a book's
-- validity to its next snapshot, counted for the day of the end; a book that has none since is not in it.
--
-- parameter venue String = %: venues, as a pattern of LIKE
-- parameter since DateTime64(9, 'UTC') = 1970-01-01: from this time on
-- parameter until DateTime64(9, 'UTC') = 2200-01-01: before this time
WITH
    noted AS
    (
        SELECT
            toDate(e.time, 'UTC') AS day,
            ifNull(e.venue, '') AS venue,
            countIf(e.kind = 'gap') AS gaps,
            countIf(e.kind = 'trade_gap') AS trade_gaps,
            countIf(e.kind = 'checksum_failure') AS checksum_failures,
            countIf(e.kind = 'crossed_book') AS crossed_books,
            countIf(e.kind = 'silent') AS silences,
            countIf(e.kind = 'resync') AS resyncs,
            countIf(e.kind = 'disconnected') AS disconnects,
            0 AS invalid,
            0 AS invalid_ns
        FROM events AS e
        WHERE ifNull(e.venue, '') != '' AND ifNull(e.venue, '') LIKE {venue:String}
            AND e.time >= {since:DateTime64(9, 'UTC')} AND e.time < {until:DateTime64(9, 'UTC')}
        GROUP BY day, venue
    ),
    ended AS
    (
        SELECT
            venue, kind, time, leadInFrame(time, 1, time) OVER (PARTITION BY venue, symbol ORDER BY time, epoch, sequence ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS next
        FROM (
            SELECT l.venue AS venue, l.symbol AS symbol, l.kind AS kind, l.epoch AS epoch, l.sequence AS sequence, l.received_time AS time
            FROM l2 AS l
            WHERE l.venue LIKE {venue:String} AND l.kind IN ('INVALID', 'SNAPSHOT')
                AND l.received_time >= {since:DateTime64(9, 'UTC')} AND l.received_time < {until:DateTime64(9, 'UTC')}
        )
    )
SELECT
    n.day AS day,
    n.venue AS venue,
    sum(n.gaps) AS gaps,
    sum(n.trade_gaps) AS trade_gaps,
    sum(n.checksum_failures) AS checksum_failures,
    sum(n.crossed_books) AS crossed_books,
    sum(n.silences) AS silences,
    sum(n.resyncs) AS resyncs,
    sum(n.disconnects) AS disconnects,
    sum(n.invalid) AS invalid,
    sum(n.invalid_ns) / 1000000000 AS invalid_seconds
FROM
(
    SELECT * FROM noted
    UNION ALL
    SELECT toDate(d.time, 'UTC'), d.venue, 0, 0, 0, 0, 0, 0, 0, count(), sum(toUnixTimestamp64Nano(d.next) - toUnixTimestamp64Nano(d.time))
    FROM ended AS d
    WHERE d.kind = 'INVALID'
    GROUP BY toDate(d.time, 'UTC'), d.venue
) AS n
GROUP BY day, venue
ORDER BY day, venue
