"""Programs of ours do not import pandas; a program that imports ours as a library may."""

from __future__ import annotations

import subprocess
import sys

import pytest

FINISHED = """
import sys
from alphapulse import output

def main():
    import pyarrow as pa
    import pyarrow.dataset
    assert pa.array([1, None]).to_pylist() == [1, None]
    import chdb
    from chdb.session import Session
    with Session() as session:
        assert session.query("SELECT 1", "CSV").bytes() == b"1\\n"
    return int("pandas" in sys.modules)

output.finish(main)
"""

IMPORTED = """
import alphapulse.client, alphapulse.kafka, alphapulse.output, schemas.codec
import pandas
"""


@pytest.mark.parametrize("program", [FINISHED, IMPORTED], ids=["a program of ours", "a program that imports ours"])
def test_pandas_is_left_out_of_our_programs_only(program: str) -> None:
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0
