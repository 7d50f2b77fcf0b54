"""The BSON reader holds against bytes that are made to reach its branches; nightly alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = 100_000


@pytest.mark.skipif(not os.environ.get("MILLSTREAM_NIGHTLY"), reason="nightly")
def test_any_bytes_are_read_or_refused(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="uv pip install --group fuzz -c constraints.txt")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [sys.executable, "-m", "tests.fuzz.guided", f"-runs={RUNS}", "-max_len=4096"]
    places = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    found = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/", str(corpus)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-5000:]
    assert f"Done {RUNS} runs" in found.stderr
