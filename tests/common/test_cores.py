"""How many cores a run uses: what it is bound to, what its container allows, or what is set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millstream.common.cores import cores

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, BOUND),
        ({"cpu.max": "max 100000\n"}, BOUND),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "99900000 100000\n"}, BOUND),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, BOUND),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.max": "nonsense"}, BOUND),
    ],
)
def test_a_container_may_allow_fewer(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert cores({}.get, tmp_path) == expected


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("12", 12), ("0", 1), ("many", BOUND)])
def test_a_setting_counts_before_all(text: str, expected: int, tmp_path: Path) -> None:
    assert cores({"MILLSTREAM_THREADS": text}.get, tmp_path) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no binding to cores here")
def test_a_process_that_is_bound_to_one_core() -> None:
    one = min(os.sched_getaffinity(0))
    code = "import os; os.sched_setaffinity(0, {%d}); from millstream.common.cores import cores"
    done = subprocess.run(
        [sys.executable, "-c", f"{code % one}; print(cores())"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MILLSTREAM_THREADS": ""},
    )
    assert done.stdout == "1\n"
