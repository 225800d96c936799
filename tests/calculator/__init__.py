"""Reference calculator: what a correct pipeline holds at the end of a recording (``expected.json``).

``python -m tests.calculator FOLDER`` prints the figures of all recordings in a folder, ``--write`` writes them to its
``expected.json``. It is written from the venues' protocol documentation, in decimals and dicts, slow and plain, and
imports nothing of the product: whoever agrees with it does not do so by sharing a mistake.

The figures, per instrument (venue and symbol):

``snapshots``          complete books of the venue that were taken.
``deltas``             book updates that were applied and left the book right, as far as the venue's protocol shows.
``level_changes``      (price, size) entries of those updates.
``ignored``            book updates that were not applied: older than the book, or while it waits for a snapshot.
``gaps``               losses shown by the feed's sequence: update ids (Binance), message numbers (OKX, Coinbase
                       Advanced Trade); Coinbase Exchange has no sequence but the trade ids. Bitstamp has none: diffs
                       that come behind a later one, and a stream that begins anew.
``checksums_ok/_bad``  book messages whose checksum holds, or does not (Kraken).
``trades``             different trades, by the venue's id; ``duplicate_trades``: those that came again.
``base_volume``        sum of the sizes of the different trades.
``book``               at the end: number of levels, best prices, whether crossed, SHA-256 over all levels.

A book in doubt (a gap, a wrong checksum, a best bid not below the best ask) is empty until the next snapshot. The
recorder's connections follow one another without a mark; a new one begins with new snapshots.
"""
