"""Small files of JSON lines, joined: dlt takes ten milliseconds for a part, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from millstream.sources import json_lines
from millstream.sources.file_listing import ListedFile

SMALL = 256 << 10
"""Bytes of a file that is joined with others. Of a larger one the engine reads columns at once."""

_BYTES = 4 << 20
_FILES = 500
"""What is joined at most: a preview reads the first part alone."""


@dataclass
class JoinedFiles:
    """The rows of files, as dlt keeps what it extracts, behind lines that say where they were.

    Attributes:
        parallel: chunks that are checked at once.
        has_quarantine: whether a line that is not JSON goes to quarantine; else it is an error.
        may_hand_parts: whether dlt may be handed files at all.
    """

    folder: Path
    parallel: int
    has_quarantine: bool
    may_hand_parts: bool
    _file: IO[bytes] | None = None
    _files: int = 0
    _rows: int = 0

    def takes(self, file: ListedFile) -> bool:
        """Whether a file of JSON lines is to be joined with others."""
        return self.may_hand_parts and file.size is not None and file.size <= SMALL

    def add(self, path: str, content: Any) -> int:
        """Join the rows of a file; how many they are.

        Raises:
            SourceDataError: as of `json_lines.read`.
        """
        count = 0
        for rows in json_lines.read(
            path, content, self.parallel, quarantine_enabled=self.has_quarantine
        ):
            if rows.count:
                if self._file is None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._file = (self.folder / uuid4().hex).open("xb")
                self._file.writelines(rows.typed().lines(path))
                count += rows.count
        self._files, self._rows = self._files + 1, self._rows + count
        return count

    @property
    def is_full(self) -> bool:
        return self._file is not None and (self._files >= _FILES or self._file.tell() >= _BYTES)

    def parts(self) -> Iterator[json_lines.Part]:
        """What was joined so far, if there are rows; it is gone when the next is asked for."""
        if self._file is not None:
            self._file.flush()
            yield json_lines.Part(Path(self._file.name), self._rows)
            self.close()

    def close(self) -> None:
        """Forget what was joined."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
        self._file, self._files, self._rows = None, 0, 0
