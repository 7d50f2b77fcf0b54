"""Rows counted as they are handed to dlt, and a sample of them kept as they came.

It sees what the source gives, at the end of a resource or as a part is handed on, before anything
is extracted, named or typed. Loads of few rows are kept whole; of larger ones a sample is kept that
a hash of the row, or of its place in the part, chooses.

    RUN/receipts/TABLE.rows     the rows that were kept, one after the other
    RUN/receipts/counts.json    what came, by table
"""

from __future__ import annotations

import io
import json
import pickle
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from zlib import crc32

from millstream.common import atomic_write
from millstream.dlt_compat.pipes import handed_on, pipe_of
from millstream.formats import raw_part
from millstream.receipts.bson_rows import with_settings
from millstream.receipts.row_forms import Form, Pickler, is_envelope, is_note, rows_of_line, typed

if TYPE_CHECKING:
    from dlt.sources import DltResource

FEW_ROWS, FEW_BYTES = 2_000, 2 << 20
"""Of a load of so many rows and bytes at most each row is checked."""
SAMPLE = 250
"""Rows of a larger one that are kept at most; about half of it at least."""
_ALL = 1 << 32
_PIECE = 256 << 10

How = Literal["sample", "all"]


@dataclass(slots=True)
class Counted:
    """What was handed over for one root table.

    Attributes:
        rows: source rows; notes of the quarantine are none.
        kept: of these, those whose values can be compared.
        unchecked: why values can't be compared, where that is so.
        has_files: rows came in files that are loaded as they are, too: nobody counted these.
    """

    rows: int = 0
    kept: int = 0
    unchecked: str = ""
    has_files: bool = False

    @property
    def is_whole(self) -> bool:
        return self.kept == self.rows


@dataclass(slots=True)
class _Table:
    file: Path
    how: How
    counted: Counted = field(default_factory=Counted)
    rows: list[tuple[Form, bytes, int]] = field(default_factory=list)
    size: int = 0
    threshold: int = _ALL
    """Rows are kept whose hash is below it."""
    written: BinaryIO | None = None
    """Of `all`: each row goes to the file at once."""

    def take(self, form: Form, row: bytes) -> None:
        if is_note(form, row):
            return
        self.counted.rows += 1
        self._keep(form, row, crc32(row))

    def take_lines(self, text: mmap, start: int, end: int) -> None:
        """Rows of JSON, each on a line, in a part of a file."""
        if self.threshold == _ALL:
            for row in text[start:end].split(b"\n")[:-1]:
                self.take("json", row)
            return
        lines = _lines(text, start, end)
        self.counted.rows += lines
        # those at some places of the text: the others are not looked for
        chance, count = self._chosen(lines, text[start : start + (1 << 16)])
        places = (chance.randrange(start, end) for _ in range(count))
        for at in {text.rfind(b"\n", start, place) for place in places}:
            first = max(at + 1, start)
            row = text[first : text.find(b"\n", first)]
            self._keep("json", row, chance.randrange(self.threshold))

    def take_documents(self, data: mmap, start: int, settings: Mapping[str, Any]) -> None:
        """BSON, document after document, up to the end of a file."""
        documents = []
        while start < len(data):
            end = start + max(int.from_bytes(data[start : start + 4], "little"), 5)
            documents.append((start, end))
            start = end
        if self.threshold == _ALL:
            for at, end in documents:
                self.take("bson", with_settings(settings, data[at:end]))
            return
        self.counted.rows += len(documents)
        chance, count = self._chosen(len(documents), b"%d" % len(data))
        for at, end in chance.sample(documents, count):
            kept = with_settings(settings, data[at:end])
            self._keep("bson", kept, chance.randrange(self.threshold))

    def take_typed(self, line: bytes) -> None:
        """Rows on a line of a file as dlt keeps what it extracts."""
        rows = rows_of_line(line)
        if self.threshold == _ALL or is_envelope(line):
            for row in rows:
                self.take(*typed(row))
            return
        self.counted.rows += len(rows)
        chance, count = self._chosen(len(rows), line[: 1 << 16])
        for row in chance.sample(rows, count):
            self._keep(*typed(row), chance.randrange(self.threshold))

    def take_table(self, table: Any) -> None:
        """Rows of an Arrow table."""
        rows = table.num_rows
        if self.how == "sample":
            while rows * self.threshold / _ALL > FEW_ROWS:
                self._thin()
        if self.threshold < _ALL:
            chance, count = self._chosen(rows, b"%d" % rows)
            chosen = sorted(chance.sample(range(rows), count))
            table = table.take(chosen) if chosen else table.slice(0, 0)
        self.counted.rows += rows
        for row in table.to_pylist():
            data = pickle.dumps(row, 5)
            self._keep("columns", data, crc32(data) % self.threshold)

    def _chosen(self, rows: int, seed: bytes) -> tuple[random.Random, int]:
        """How many of some rows are kept, and what chooses them: the same for the same text."""
        chance = random.Random(crc32(seed))  # noqa: S311
        count = round(rows * self.threshold / _ALL + chance.random() - 0.5)
        return chance, min(max(count, 0), rows)

    def skip(self, reason: str, rows: int) -> None:
        self.counted.rows += rows
        self.counted.unchecked = self.counted.unchecked or reason

    def _keep(self, form: Form, row: bytes, number: int) -> None:
        if self.how == "all":
            if self.written is None:
                self.written = self.file.open("wb")
            pickle.dump((form, row), self.written)
            self.counted.kept += 1
            return
        if number >= self.threshold:
            return
        self.rows.append((form, row, number))
        self.size += len(row)
        is_few = len(self.rows) <= FEW_ROWS and self.size <= FEW_BYTES
        if self.threshold == _ALL and is_few:
            return
        while len(self.rows) > SAMPLE or (self.size > FEW_BYTES and len(self.rows) > 1):
            self._thin()

    def save(self) -> None:
        """Leave what was kept in the file."""
        if self.written is not None:
            return
        self.counted.kept = len(self.rows)
        with self.file.open("wb") as file:
            for form, row, _ in self.rows:
                pickle.dump((form, row), file)

    def close(self) -> None:
        if self.written is not None:
            self.written.close()

    def _thin(self) -> None:
        self.threshold //= 2
        self.rows = [each for each in self.rows if each[2] < self.threshold]
        self.size = sum(len(each[1]) for each in self.rows)


class Capture:
    """What the resources of a run hand over.

    Args:
        folder: gets what is kept; it is whole where reading ends without an error.
    """

    def __init__(self, how: How, folder: Path) -> None:
        self._how = how
        self._folder = folder
        self._is_open = True
        self._tables: dict[str, _Table] = {}

    def watch(self, resource: DltResource, *, hands_parts: bool) -> None:
        """Look at what a resource hands over, from now on.

        Args:
            hands_parts: whether it may hand on files, which dlt shows to no step of a resource.
        """
        pipe = pipe_of(resource)
        if hands_parts and len(pipe) == 1 and callable(pipe.gen):
            pipe.replace_gen(self._watched(pipe.gen, resource))
            return

        def step(item: Any, meta: Any = None) -> Any:
            self._see(resource, item, meta)
            return handed_on(item, meta)

        resource.add_step(step, insert_at=len(pipe))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Within the block rows are kept; behind it they are there for when they are loaded."""
        try:
            yield
            for table in self._tables.values():
                table.save()
            self._folder.mkdir(parents=True, exist_ok=True)
            counts = {name: asdict(table.counted) for name, table in self._tables.items()}
            atomic_write.write(self._folder / "counts.json", json.dumps(counts))
        finally:
            for table in self._tables.values():
                table.close()
            # whoever keeps the resource may read it again
            self._is_open, self._tables = False, {}

    def _watched(self, rows_of: Callable[..., Any], resource: DltResource) -> Callable[..., Any]:
        from dlt.extract.items import DataItemWithMeta

        def each(found: Generator[Any, Any, Any]) -> Iterator[Any]:
            with closing(found):
                for item in found:
                    if isinstance(item, DataItemWithMeta):
                        self._see(resource, item.data, item.meta)
                    else:
                        self._see(resource, item, None)
                    yield item

        @wraps(rows_of)
        def watched(*arguments: Any, **named: Any) -> Any:
            found = rows_of(*arguments, **named)
            return each(found) if isinstance(found, Generator) else found

        return watched

    def _see(self, resource: DltResource, item: Any, meta: Any) -> None:
        if not self._is_open:
            return
        name = getattr(meta, "table_name", None) or resource.table_name
        rows = item if isinstance(item, list) else () if item is None else (item,)
        if callable(name):  # each row has its own
            for row in rows:
                self._see_row(self._table(str(name(row))), row)
            return
        table = self._table(str(name))
        if (path := getattr(meta, "file_path", None)) is not None:
            if meta.file_format == "typed-jsonl":
                self._see_part(table, Path(path))
            else:
                table.counted.has_files = True
            return
        for row in rows:
            self._see_row(table, row)

    def _see_part(self, table: _Table, path: Path) -> None:
        with path.open("rb") as file:
            first = file.readline()
            if not first.startswith(raw_part.MARK):
                file.seek(0)
                for line in file:
                    table.take_typed(line)
                return
            header, start = raw_part.header(first), file.tell()
            with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                if header.form == "bson":
                    table.take_documents(data, start, header.settings)
                    return
                while (end := data.find(b"\n", start)) >= 0:
                    size = int(data[start:end].split()[0])
                    start = end + 1 + size
                    table.take_lines(data, end + 1, start)

    def _see_row(self, table: _Table, row: Any) -> None:
        kind = type(row)
        if kind.__module__.startswith("pyarrow") and hasattr(row, "to_pylist"):
            table.take_table(row)
        elif kind.__module__.partition(".")[0] in ("pandas", "polars"):
            table.skip("rows are data frames", len(row))
        elif kind.__name__ == "Fragment":
            import orjson

            table.take("typed", orjson.dumps(row))
        else:
            kept = io.BytesIO()
            try:
                Pickler(kept, 5).dump(row)
            except Exception:  # whatever a row holds, its load must not fail for this
                table.skip("a row holds what can't be kept", 1)
            else:
                table.take("python", kept.getvalue())

    def _table(self, name: str) -> _Table:
        if name not in self._tables:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._folder / f"{len(self._tables)}.rows"
            self._tables[name] = _Table(file, self._how)
        return self._tables[name]


def _lines(text: mmap, start: int, end: int) -> int:
    """How often a line ends."""
    import numpy as np

    data = np.frombuffer(text, np.uint8, end - start, start)
    # by pieces that stay in the processor's cache; a third of the time of `bytes.count`
    pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
    return sum(int(np.count_nonzero(piece == ord("\n"))) for piece in pieces)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a run kept, read again."""

    counted: Counted
    file: Path

    def rows(self) -> Iterator[tuple[Form, bytes]]:
        if not self.counted.kept:  # of a table for which nothing came there is no file
            return
        with self.file.open("rb") as file:
            for _ in range(self.counted.kept):
                yield pickle.load(file)  # noqa: S301 (written by this package, in its own folder)


def captured(folder: Path, normalize: Callable[[str], str]) -> dict[str, Captured]:
    """What was kept of a run's rows, by root table; empty where nothing was.

    Args:
        normalize: what the destination calls a table.
    """
    try:
        counts = json.loads((folder / "counts.json").read_bytes())
    except FileNotFoundError:
        return {}
    found: dict[str, Captured] = {}
    for number, (name, plain) in enumerate(counts.items()):
        counted, root = Counted(**plain), normalize(name)
        if counted.has_files:
            continue
        if root in found:
            counted.rows += found[root].counted.rows
            counted.unchecked = counted.unchecked or "tables of several names are one"
        found[root] = Captured(counted, folder / f"{number}.rows")
    return found
