from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millstream.common import file_lock

HOLDER = """
import sys, time
from pathlib import Path
from millstream.common import file_lock
with file_lock.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_ends_with_its_process(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lock" if kind == "file" else tmp_path
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), file_lock.locked(path, wait=False):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with file_lock.locked(path, wait=False):
        pass


def test_one_process_excludes_itself(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        file_lock.locked(lock),
        pytest.raises(BlockingIOError),
        file_lock.locked(lock, wait=False),
    ):
        pass
    with file_lock.locked(lock, wait=False):
        pass
