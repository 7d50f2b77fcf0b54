"""Compiled hashes are hashlib's, compiled or not, and numba waits for rows enough."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine import kernels, row_ids

pytest.importorskip("numba")
from millstream.engine.kernels import shake128


@pytest.fixture(autouse=True)
def unset(isolated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLSTREAM_KERNELS", raising=False)


def check(starts: list[bytes], middle: bytes, numbers: list[int], size: int) -> None:
    digests = np.zeros((len(starts), size), np.uint8)
    shake128.hash_rows(
        np.frombuffer(b"".join(starts), np.uint8).reshape(len(starts), len(starts[0])),
        np.frombuffer(middle, np.uint8),
        np.array(numbers, np.int64),
        digests,
    )
    for start, number, digest in zip(starts, numbers, digests):
        message = start + middle + str(number).encode()
        assert digest.tobytes() == hashlib.shake_128(message).digest(size), message


@given(st.data(), st.integers(0, 30), st.binary(max_size=100), st.integers(1, shake128.RATE))
def test_hashes_of_rows_are_those_of_hashlib(
    data: Any, width: int, middle: bytes, size: int
) -> None:
    numbers = data.draw(
        st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=2 * shake128.LANES + 2)
    )
    start = data.draw(st.binary(min_size=width, max_size=width))
    starts = [start[at % (width + 1) :] + start[: at % (width + 1)] for at in range(len(numbers))]
    check(starts, middle, numbers, size)


@pytest.mark.parametrize("number", [0, 9, 10, 2**63 - 1])
def test_each_length_of_a_message_is_hashed(number: int) -> None:
    for length in range(shake128.LONGEST_PREFIX + 1):
        check([b"p" * (length // 2)], b"m" * (length - length // 2), [number], 10)


def test_a_short_number_behind_a_long_one_in_a_lane() -> None:
    check([b"parent"] * 200, b"_t_", [10**at if at < 19 else at for at in range(200)], 10)


def ids(table: str) -> list[bytes]:
    parents = row_ids.from_texts(f"parent-{n:03}" for n in range(150))
    return row_ids.nested_ids(table, parents, np.arange(150) * 7, 10).tolist()


@pytest.mark.parametrize("table", ["orders__lines", "t" * 127, "t" * 137, "t" * 138, "t" * 500])
def test_ids_are_the_same_with_kernels(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table's name is as long as its destination allows."""
    monkeypatch.setenv("MILLSTREAM_KERNELS", "off")
    expected = ids(table)
    monkeypatch.setenv("MILLSTREAM_KERNELS", "on")
    assert ids(table) == expected


def test_kernels_are_loaded_aside_after_many_rows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "millstream")
    loader = kernels.Loader()
    assert loader.ready(kernels.COST) is None
    loader.wait()
    assert loader.ready(0) is None
    loader.ready(1)
    loader.wait()
    ready = loader.ready(1)
    assert ready is not None
    assert ready.shake128 is shake128
    monkeypatch.setenv("MILLSTREAM_KERNELS", "off")
    assert loader.ready(1) is None
    assert "not used" not in caplog.text


SMALL_RUN = """
import dlt, millstream, sys
assert millstream.accelerate()
pipeline = dlt.pipeline("shop", destination=dlt.destinations.duckdb("shop.duckdb"))
orders = [{"id": 1, "lines": [{"sku": "a"}, {"sku": "b"}]}]
pipeline.run(orders, table_name="orders", loader_file_format="parquet")
assert len(pipeline.dataset()["orders__lines"].fetchall()) == 2
assert "millstream.engine.kernels" in sys.modules
assert "numba" not in sys.modules
"""


def test_a_small_run_does_not_import_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    python(SMALL_RUN)


UNCOMPILED = """
import numpy, os
from millstream.engine import kernels, row_ids

parents, positions = row_ids.random_ids(70, 10), numpy.arange(70) * 3
try:
    kernels.load()
except kernels.KernelError as error:
    assert str(error) == "NUMBA_DISABLE_JIT is set"
expected = row_ids.nested_ids("orders__lines", parents, positions, 10)
os.environ["MILLSTREAM_KERNELS"] = "on"
plain = kernels.ready(0).shake128.hash_rows
assert type(plain) is type(lambda: 0)
assert expected.tolist() == row_ids.nested_ids("orders__lines", parents, positions, 10).tolist()
"""


def test_kernels_are_plain_python_without_a_compiler() -> None:
    python(UNCOMPILED, NUMBA_DISABLE_JIT="1")


def test_without_a_folder_to_write_kernels_are_not_used() -> None:
    said = python(
        "from millstream.engine import kernels, row_ids; kernels.COST = 0\n"
        "import numpy; parents, at = row_ids.random_ids(2, 10), numpy.arange(2)\n"
        "kernels.expect(1); kernels._loader.wait(); row_ids.nested_ids('t', parents, at, 10)\n"
        "assert kernels.ready(1) is None",
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
        NUMBA_CACHE_DIR="",
    )
    assert "kernels are not used: RuntimeError: cannot cache" in said


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
