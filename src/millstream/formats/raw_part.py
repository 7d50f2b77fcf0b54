"""What a source hands to the engine as it came, undecoded: a header line, then bytes.

    #millstream {"reader": "package.module", "settings": {..}, "form": "bson"}
    whole BSON documents, end to end

    #millstream {"reader": "package.module", "settings": {..}, "form": "lines"}
    1200 7 1
    1,200 bytes: 7 rows of JSON, each on a line, from line 1 of their file on
    1100 6 8
    1,100 bytes ...

dlt takes such a part as it takes any extracted file; the engine finds the header and reads on from
there. The module that it names tells what a document or a line means, for all that is not read in
columns. Without the engine documents can't be read: dlt fails at the first character, and the part
stays where it is. Lines can, by Millstream's watch over dlt's own normalizer
(`engine/dlt/quarantining_normalizer.py`).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol

from millstream.errors import SourceDataError

MARK = b"#millstream "
"""How the first line of an undecoded part begins; no JSON does."""

Locate = Callable[[tuple[str, ...]], tuple[list[tuple[str, ...]], str]]
"""Keys from the root on, `[]` for a list's elements -> the names that lead to each table below the
root, and the column."""

_OURS = "millstream.sources."
_PIECE = 256 << 10


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an undecoded part.

    Attributes:
        reader: the module whose `exact(settings, normalize, locate)` makes a
            `DocumentReader`, or whose
            `listed(settings)` makes a `LineReader`.
        settings: what it needs to know, as JSON holds it.
        form: what follows.
    """

    reader: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    form: Literal["bson", "lines"] = "bson"

    def line(self) -> bytes:
        """The line that begins a part."""
        found = {"reader": self.reader, "settings": self.settings, "form": self.form}
        return MARK + json.dumps(found).encode() + b"\n"

    def exact(self, normalize: Callable[[str], str], locate: Locate) -> DocumentReader:
        """What reads documents value by value.

        Args:
            normalize: dlt's name for a key.
            locate: where the values at a path of keys go.

        Raises:
            SourceDataError: the part names a reader that is none of ours.
        """
        made: DocumentReader = self._module().exact(self.settings, normalize, locate)
        return made

    def listed(self) -> LineReader:
        """What reads lines one by one.

        Raises:
            SourceDataError: the part names a reader that is none of ours.
        """
        made: LineReader = self._module().listed(self.settings)
        return made

    def _module(self) -> Any:
        if not self.reader.startswith(_OURS):
            raise SourceDataError(f"an undecoded part names the reader {self.reader!r}")
        return importlib.import_module(self.reader)


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of JSON, each on a line, that nobody has looked into.

    Attributes:
        text: ends with a newline. Or a line as dlt extracts it: a JSON list of rows.
        rows: how many lines; None for such a list.
        start: the number of the first line in its file.
    """

    text: bytes
    rows: int | None = None
    start: int = 1

    def cut(self, rows: int) -> tuple[Block, Block]:
        """The first rows, and the others, if any."""
        *few, others = self.text.split(b"\n", rows)
        left = (self.rows or 0) - len(few)
        first = Block(b"\n".join((*few, b"")), len(few), self.start)
        return first, Block(others, left, self.start + len(few))

    def written(self) -> Iterator[bytes]:
        """What `blocks` reads."""
        yield b"%d %d %d\n" % (len(self.text), self.rows or 0, self.start)
        yield self.text


def objects(text: bytes) -> int | None:
    """How many lines a text has, if each begins and ends like an object; None where not.

    Arrow 25 takes the whole process down over a text that begins with `null`.
    """
    import numpy as np

    data = np.frombuffer(text, np.uint8)
    if data[0] != 123:
        return None
    lines = 0
    # by pieces: what comes in between stays in the processor's cache
    for start in range(0, len(data), _PIECE):
        ends = np.flatnonzero(data[start : start + _PIECE] == 10) + start
        begins = ends[:-1] + 1 if start + _PIECE >= len(data) else ends + 1
        if (data[ends - 1] != 125).any() or (data[begins] != 123).any():
            return None
        lines += len(ends)
    return lines


def blocks(file: IO[bytes]) -> Iterator[Block]:
    """What `Block.written` gave, up to the end of a file.

    Raises:
        SourceDataError: the file is damaged.
    """
    while head := file.readline():
        try:
            size, rows, start = map(int, head.split())
        except ValueError:
            raise _damaged() from None
        text = file.read(size)
        if len(text) < size:
            raise _damaged()
        yield Block(text, rows, start)


def _damaged() -> SourceDataError:
    return SourceDataError(
        "what was extracted is damaged",
        hint="drop it with `millstream pending drop`; the next run reads its rows again",
    )


@dataclass(frozen=True, slots=True)
class Line:
    """Rows as one line of dlt's typed JSON.

    Attributes:
        doubles: columns that hold NaN or an infinity, which JSON has as text: the keys of the lists
            above, each as a path of normalized names, and the column.
    """

    text: bytes
    doubles: tuple[tuple[tuple[tuple[str, ...], ...], str], ...] = ()


class DocumentReader(Protocol):
    """Reads documents value by value: slow, and never wrong.

    Attributes:
        key: what the root's `_id` is (`oid`, `uuid`, `text`, `int`, `date`), None for a field like
            any other.
        reserved: normalized names of columns that a key may not take as it is.
        extra: columns that each row has beside its document's.
    """

    key: str | None
    reserved: frozenset[str]
    extra: Mapping[str, Any]

    def suspects(self, documents: bytes) -> list[int]:
        """Positions of bytes that must be read here, in documents end to end."""

    def line(self, documents: bytes) -> Line:
        """Documents, end to end, as rows."""

    def log_warnings(self) -> None:
        """Log what was odd, once all is read."""


class LineReader(Protocol):
    """Reads lines of JSON one by one, where it has to."""

    def __call__(self, block: Block) -> Iterator[bytes]:
        """The rows of a block as lines of dlt's typed JSON; what is no row in an envelope."""


def header(line: bytes) -> Header:
    """The header that a file's first line is, where it begins with `MARK`."""
    found = json.loads(line[len(MARK) :])
    return Header(found["reader"], found["settings"], found.get("form", "bson"))
