"""A working folder for each run, so that runs never share one, and what a killed run left is found.

    DATA_DIR/runs/PIPELINE/STREAM/RUN_ID/        dlt's pipeline folder: packages, state, schema
                                        /lock    held with flock(2) by the process that runs
                                        /place   where its packages are to be loaded
                          /STREAM@PARTITION/...  the same, of one partition

The kernel drops the lock when its process dies, however it dies. A folder whose lock can be taken
is therefore nobody's: the next run of that stream finishes its packages, or removes it. A pipeline
of the same name that loads elsewhere, such as another project's, leaves it alone.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from millstream.common import atomic_write, file_lock
from millstream.config import data_dir, make_private_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkDir:
    """One run's folder, locked for as long as this process uses it."""

    path: Path

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def drop(self) -> None:
        """Remove it at once: a process that dies meanwhile leaves nothing for the next run."""
        aside = data_dir() / "dropped"
        make_private_folder(aside)
        gone = aside / uuid4().hex
        self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def create(pipeline: str, stream: str, place: str) -> Iterator[WorkDir]:
    """A new folder, locked; the caller removes it once nothing in it is needed.

    Args:
        place: names the destination and dataset that the run loads into.
    """
    path = _runs_of(pipeline, stream) / uuid4().hex
    make_private_folder(path)
    with _locked(path) as held:
        assert held, "a folder that was just made is nobody else's"
        atomic_write.write(path / "place", place)
        yield WorkDir(path)


def abandoned(pipeline: str, stream: str, place: str) -> Iterator[WorkDir]:
    """The folders that dead runs left, oldest first, each locked while the caller looks at it."""
    folder = _runs_of(pipeline, stream)
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir(), key=_age):
        with _locked(path) as held:
            if held and path.is_dir() and _place(path) in (place, None):
                yield WorkDir(path)


def has_runs(pipeline: str, stream: str) -> bool:
    """Whether any run of a stream has a folder."""
    folder = _runs_of(pipeline, stream)
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def parts(pipeline: str, stream: str) -> list[str]:
    """The names under which runs of a stream's partitions have folders."""
    return sorted(path.name for path in _runs_of(pipeline, stream).parent.glob(f"{stream}@*"))


def streams(pipeline: str) -> list[str]:
    """The names under which runs of a pipeline's streams, or of their partitions, have folders."""
    folders = (data_dir() / "runs" / pipeline).glob("*")
    return sorted({path.name.partition("@")[0] for path in folders})


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """True while this process holds the folder's lock, False if another one does."""
    with ExitStack() as kept:
        held = True
        try:
            kept.enter_context(file_lock.locked(path / "lock", wait=False))
        except OSError:  # held by another, or removed by its owner in between
            held = False
        yield held


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # removed by its owner in between
        return 0.0


def _place(path: Path) -> str | None:
    """Where a run loads; None of one that was killed before it said so, and so had no package."""
    try:
        return (path / "place").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _runs_of(pipeline: str, stream: str) -> Path:
    return data_dir() / "runs" / pipeline / stream
