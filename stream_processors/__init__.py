"""The Faust app: books, depth, statistics, candles and arbitrage.

Pure parts: ``depth``, ``statistics``, ``candles`` (``bars``), ``arbitrage`` (``ladders``), joined in ``instrument`` and
``partition``; what is kept of them in ``state`` and ``checkpoint``. Edges: ``transport`` and ``app`` (Faust),
``outputs``, ``ownership`` (partitions that come and go), ``worker``, ``ops``.
"""
