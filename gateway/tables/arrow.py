"""Arrow stream to table."""

from __future__ import annotations

import pyarrow as pa

from gateway.tables.errors import TablesUnavailable


def decoded(body: bytes) -> pa.Table:
    """Return the rows of an Arrow stream.

    Raises:
        TablesUnavailable: it is cut off.
    """
    try:
        with pa.ipc.open_stream(body) as stream:
            return stream.read_all()
    except pa.ArrowInvalid as error:
        raise TablesUnavailable(f"its answer broke off: {error}") from error
