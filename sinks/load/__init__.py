"""``alphapulse load``: market data of other vendors, and of ours, into topics or tables, each row once.

A file is read twice: the *survey* checks every row and finds what must be known before the first record (exponents,
instruments, a digest of the content), then the rows are written. So a fault stops a load before anything is written.

The way of a row: ``source`` (bytes, decompressed) → ``fields`` (lines and fields of a block) → ``numbers`` (exact
decimals) → ``formats`` (a vendor's columns) → ``trades`` or ``books`` (rows of our tables, Arrow) → ``tables`` or
``topics``. What makes it repeatable stands in those two.
"""
