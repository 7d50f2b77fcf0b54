from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from millstream.common import atomic_write

WRITER = """
import os, sys
from pathlib import Path
from millstream.common import atomic_write
os.fsync = lambda _: os.kill(os.getpid(), 9)
atomic_write.write(Path(sys.argv[1]), "new" * 1000)
"""


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    atomic_write.write(path, "old")
    done = subprocess.run([sys.executable, "-c", WRITER, str(path)])
    assert done.returncode == -9
    assert path.read_text() == "old"
    atomic_write.write(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.touch(0o640)
    atomic_write.write(path, "tables: {}\n")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        atomic_write.write(tmp_path / "folder", "text")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
