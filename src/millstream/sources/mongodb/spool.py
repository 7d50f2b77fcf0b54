"""Where a read keeps documents until dlt has all of them: parts on disk, and how far it got.

    DATA_DIR/spool/PIPELINE/plan.json         what is being read, since when, in which ranges
                           /0007.json         range 7: its parts, the last `_id`, whether it is done
                           /0007-0002.typed-jsonl   a part, which dlt takes by hard link
                           /lock              held by the process that reads

dlt drops what it extracted when a source fails. The next run finds the parts here, hands them on
again and reads only what is missing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from millstream.common import atomic_write, file_lock
from millstream.sources.mongodb.encode import Encoded

PART_ROWS = 100_000
PART_BYTES = 12 << 20
"""Small, since normalize workers share whole parts, each as many: the last ones come together."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of whole documents. `last` is the Extended JSON of the last one's `_id`."""

    path: Path
    rows: int
    last: str | None = None
    not_finite: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a range was read."""

    parts: tuple[Part, ...] = ()
    done: bool = False


class Spool:
    """The parts of one read. Not for use by several processes; threads use different ranges."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / "plan.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Forget everything and start on a new plan."""
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(self.folder / "plan.json", {**plan, "begun": time.time()})

    def progress(self, number: int) -> Progress:
        """What is there of a range: parts that were closed, in order."""
        try:
            found = json.loads((self.folder / f"{number:04}.json").read_bytes())
        except (OSError, ValueError):
            return Progress()
        parts = tuple(
            Part(
                self.folder / part["path"],
                part["rows"],
                part["last"],
                tuple(tuple(path) for path in part["not_finite"]),
            )
            for part in found["parts"]
        )
        if not all(part.path.is_file() for part in parts):
            return Progress()
        return Progress(parts, found["done"])

    def record(self, number: int, progress: Progress) -> None:
        parts = [{**asdict(part), "path": part.path.name} for part in progress.parts]
        _write(self.folder / f"{number:04}.json", {"parts": parts, "done": progress.done})

    def path(self, number: int, part: int) -> Path:
        return self.folder / f"{number:04}-{part:04}.typed-jsonl"

    def forget(self, number: int) -> None:
        """Remove a range's parts, to read it anew."""
        (self.folder / f"{number:04}.json").unlink(missing_ok=True)
        for path in self.folder.glob(f"{number:04}-*"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything but the lock."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name != "lock":
                    path.unlink(missing_ok=True)


class PartWriter:
    """Writes the parts of one range; `close` returns None where nothing was written.

    Args:
        header: what each part begins with.
    """

    def __init__(
        self, spool: Spool, number: int, before: tuple[Part, ...] = (), *, header: bytes = b""
    ) -> None:
        self._spool = spool
        self._number = number
        self._header = header
        self._count = len(before)
        self._file: IO[bytes] | None = None
        self._rows = 0

    @property
    def is_full(self) -> bool:
        return self._rows >= PART_ROWS or (
            self._file is not None and self._file.tell() >= PART_BYTES
        )

    def write(self, encoded: Encoded) -> None:
        try:
            if self._file is None:
                path = self._spool.path(self._number, self._count)
                # one of that name may be part of a package by now, by a hard link
                path.unlink(missing_ok=True)
                self._file = path.open("xb")
                self._file.write(self._header)
            self._file.write(encoded.line)
        except OSError:  # a line may have been cut: the part is worth nothing
            self.drop()
            raise
        self._rows += encoded.rows

    def close(
        self, last: str | None = None, not_finite: tuple[tuple[str, ...], ...] = ()
    ) -> Part | None:
        if self._file is None:
            return None
        path, rows = Path(self._file.name), self._rows
        self.drop()
        self._count += 1
        return Part(path, rows, last, not_finite)

    def drop(self) -> None:
        """Leave the part that was being written."""
        if self._file is not None:
            self._file.close()
        self._file, self._rows = None, 0


@contextmanager
def opened(folder: Path) -> Iterator[Spool]:
    """The spool in this folder; one of its own, without a past, where another run is using it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as kept:
        try:
            kept.enter_context(file_lock.locked(folder / "lock", wait=False))
        except BlockingIOError:
            folder = folder.with_name(f"{folder.name}-{uuid4().hex}")
            folder.mkdir(mode=0o700)
            kept.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Spool(folder)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    atomic_write.write(path, json.dumps(content))
