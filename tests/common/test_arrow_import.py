"""Arrow in a process that no data frame can reach."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pandas")

ASK = """
import sys
from millstream.common.arrow_import import import_arrow
import_arrow(frames=False)
import pyarrow as pa
table = pa.table({"n": pa.array([1, None])})
print("pandas" in sys.modules)
print(table.to_pandas()["n"].tolist(), pa.array(__import__("pandas").Series([1.5, None])))
"""


def test_it_goes_without_pandas_until_a_frame_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    first, frame = done.stdout.split("\n", 1)
    assert first == "False"
    assert "".join(frame.split()) == "[1.0,nan][1.5,null]"
