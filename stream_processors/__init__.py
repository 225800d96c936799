"""Stream processors (Faust): books, depth, statistics, candles and arbitrage.

``processing`` is pure: ``depth``, ``statistics``, ``candles`` (``bars``), ``arbitrage`` (``ladders``), combined in
``instrument`` and ``partition``; ``state`` is their saved form. ``checkpoints`` saves and restores it. ``engine`` does
the I/O: ``transport`` and ``app`` (Faust), ``publisher``, ``ownership`` (assigned partitions), ``worker``, ``ops``.
"""
