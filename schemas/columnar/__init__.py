"""Columnar decoding: a batch of values in the Confluent wire format to Arrow columns.

All values of a batch are joined, and the schema's fields are read in their order, each for all records at once
(``wire.py``: numpy), after a plan for the writer's schema (``plan.py``), into Arrow arrays (``arrow.py``). Anything
unusual in a batch makes :meth:`ColumnDecoder.decode` return None: then it is for the codec, record by record.

Not imported by :mod:`schemas` itself: only readers of batches need numpy and Arrow.
"""

from schemas.columnar.decoder import ColumnDecoder

__all__ = ["ColumnDecoder"]
