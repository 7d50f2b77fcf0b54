"""CSV files as Arrow tables: every value the text that the file has, unless its type is declared.

Arrow reads the file in blocks, without a Python object for a value. A row with more or fewer values
than there are columns can't be read; one with a value that is not of its column's type, or not
UTF-8, is refused. Both are named with file and line.
"""

from __future__ import annotations

import csv as python_csv
import io
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from millstream.config import FileStream
from millstream.errors import SourceDataError
from millstream.formats.json_path import json_path
from millstream.quarantine import envelope
from millstream.sources import column_values, csv_cells
from millstream.sources.csv_columns import columns_of
from millstream.sources.file_content import PeekableFile
from millstream.sources.typed_columns import Column, Declared, NamesOf, column_names

BLOCK = 8 << 20
_HEAD = 1 << 20
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?|\d{4}-\d\d-\d\d.*", re.IGNORECASE)
_OTHER_DELIMITERS = ";\t|,"


def read(
    path: str,
    content: Any,
    settings: FileStream,
    names_of: NamesOf = column_names,
    *,
    quarantine_enabled: bool,
) -> Iterator[Any]:
    """Hints of a file's columns, its rows as tables, and lists of what is not a row of them.

    Args:
        content: the file, in UTF-8.
        names_of: gives the names of columns, by what the file calls them.
        quarantine_enabled: whether a row that can't be read goes to quarantine.

    Raises:
        SourceDataError: a row can't be read, and is not to be quarantined; or the first row does
            not have the names of the columns.
    """
    file = _File(path, settings, names_of, quarantine_enabled=quarantine_enabled)
    yield from file.rows(content)


def columns(path: str, content: Any, settings: FileStream, names_of: NamesOf) -> list[Column]:
    """The columns of a file."""
    return _File(path, settings, names_of, quarantine_enabled=True).columns(content)[0]


def read_line(
    path: str, columns: Sequence[Column], number: int, line: bytes, *, settings: FileStream
) -> list[Any]:
    """The rows of one line of a file with these columns."""
    file = _File(path, settings, quarantine_enabled=True)
    found: list[Any] = []
    for part in file.table(columns, PeekableFile(io.BytesIO(line + b"\n")), number):
        found += part if isinstance(part, list) else part.to_pylist()
    return found


class _File:
    def __init__(
        self,
        path: str,
        settings: FileStream,
        names_of: NamesOf = column_names,
        *,
        quarantine_enabled: bool,
    ) -> None:
        self._path = path
        self._settings = settings
        self._names_of = names_of
        self._quarantine_enabled = quarantine_enabled
        self._bad: deque[csv.InvalidRow] = deque()
        # Arrow counts rows; lines are told by the newlines within values, too
        self._row, self._line = 1, 1

    def rows(self, content: Any) -> Iterator[Any]:
        columns, rest = self.columns(content)
        if columns:
            hints = [hint for each in columns if (hint := each.hint)]
            yield Declared(hints, {each.source: each.name for each in columns})
            yield from self.table(columns, rest, self._line)

    def columns(self, content: Any) -> tuple[list[Column], PeekableFile]:
        """The file's columns, and what is below their names."""
        head = content.read(_HEAD)
        if not head.strip():
            return [], PeekableFile(content, head)
        lines = io.StringIO(head.decode("utf-8", "backslashreplace"), newline="")
        reader = python_csv.reader(
            lines,
            delimiter=self._delimiter,
            quotechar=self._settings.quote,
            quoting=python_csv.QUOTE_MINIMAL if self._settings.quote else python_csv.QUOTE_NONE,
        )
        given = next((row for row in reader if row), [])
        if self._settings.columns or self._settings.header is False:
            return self._numbered(given), PeekableFile(content, head)
        self._line = reader.line_num + 1
        below = b"".join(head.splitlines(keepends=True)[reader.line_num :])
        return self._named(given), PeekableFile(content, below)

    def table(
        self, columns: Sequence[Column], content: Any, line: int
    ) -> Iterator[pa.Table | list[Any]]:
        """The rows of these columns, from a line of the file on."""
        self._line = line
        names = [str(number) for number in range(len(columns))]
        if not content.peek():
            return
        with self._parsed(), self._open(names, content) as reader:
            for batch in reader:
                yield from self._checked(columns, batch)
            yield from self._report(self._rest())

    def _open(self, names: Sequence[str], content: Any) -> Any:
        return csv.open_csv(
            pa.PythonFile(content, mode="r"),
            read_options=csv.ReadOptions(
                block_size=BLOCK, use_threads=False, column_names=list(names)
            ),
            parse_options=csv.ParseOptions(
                delimiter=self._delimiter,
                quote_char=self._settings.quote or False,
                newlines_in_values=self._settings.quote is not None,
                invalid_row_handler=self._invalid,
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),  # UTF-8 is looked at below
                null_values=list(self._settings.nulls),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    @contextmanager
    def _parsed(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowInvalid as error:
            raise SourceDataError(
                f"{self._path}, from line {self._line} on: can't be read as CSV: {error}",
                hint="is `quote` right, and is each quote closed? A row of more than "
                f"{BLOCK >> 20} MB can't be read",
            ) from None

    def _invalid(self, row: csv.InvalidRow) -> str:
        self._bad.append(row)
        return "skip"

    @property
    def _delimiter(self) -> str:
        if self._settings.delimiter:
            return self._settings.delimiter
        name = self._path.lower().partition("?")[0]
        return "\t" if re.search(r"\.(tsv|tab)(\.gz|\.zstd?)?$", name) else ","

    def _numbered(self, given: Sequence[str]) -> list[Column]:
        names = self._settings.columns or [f"column_{n + 1}" for n in range(len(given))]
        if len(names) != len(given):
            raise SourceDataError(
                f"{self._path}, line 1: {len(given)} values, and `columns` names {len(names)}",
                hint="name as many columns as the file has",
            )
        return columns_of(tuple(names), self._settings.types, self._names_of)

    def _named(self, names: Sequence[str]) -> list[Column]:
        at = f"{self._path}, line 1"
        number = next((name for name in names if _NUMBER.fullmatch(name.strip())), None)
        if self._settings.header is None and number is not None:
            raise SourceDataError(
                f"{at}: {number!r} does not look like the name of a column",
                hint="set `header: false`, and name the `columns`; or `header: true`, if it is one",
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SourceDataError(
                f"{at}: duplicate column {twice!r}",
                hint="correct the file, which has to name each column once",
            )
        other = next((each for each in _OTHER_DELIMITERS if each in names[0]), None)
        if len(names) == 1 and self._settings.delimiter is None and other is not None:
            raise SourceDataError(
                f"{at}: one column, {names[0]!r}", hint=f"set `delimiter: {json.dumps(other)}`"
            )
        return columns_of(names, self._settings.types, self._names_of)

    def _checked(
        self, columns: Sequence[Column], batch: pa.RecordBatch
    ) -> Iterator[pa.Table | list[Any]]:
        """The rows of a batch in the types of their columns, and what is wrong with others."""
        reasons: dict[int, tuple[Column, str]] = {}
        arrays = []
        for column, data in zip(columns, batch.columns):
            array, wrong, detail = csv_cells.typed(column, data)
            arrays.append(array)
            for at in wrong:
                reasons.setdefault(at, (column, detail))
        lines, bad = self._lines(batch, are_needed=bool(reasons))
        yield from self._report(bad)
        for at, (column, detail) in sorted(reasons.items()):
            given = zip(columns, (each[at].as_py() for each in batch.columns))
            row = {each.name: _shown(value) for each, value in given}
            yield self._refused(lines[at], row, column, detail)
        if reasons:
            keep = pa.array([at not in reasons for at in range(len(batch))])
            arrays = [each.filter(keep) for each in arrays]
        if len(arrays[0]):
            values = [
                column_values.from_texts(column, array)
                if column.kind in ("json", "nested")
                else array
                for column, array in zip(columns, arrays)
            ]
            yield column_values.item(columns, values, {})

    def _lines(
        self, batch: pa.RecordBatch, *, are_needed: bool
    ) -> tuple[Sequence[int], list[tuple[int, csv.InvalidRow]]]:
        """The line of each row, and the rows among them that Arrow could not read, each with its.

        Args:
            are_needed: whether a row is to be named; else there may be none.
        """
        rows = len(batch)
        newlines = _newlines(batch)
        if not are_needed and not (self._bad and self._bad[0].number < self._row + rows):
            self._row += rows
            self._line += rows + (int(newlines.sum()) if newlines is not None else 0)
            return (), []
        lines: list[int] = []
        bad: list[tuple[int, csv.InvalidRow]] = []
        while len(lines) < rows:
            if self._bad and self._bad[0].number <= self._row:
                bad.append(self._next_bad())
                continue
            lines.append(self._line)
            self._line += 1 + (int(newlines[len(lines) - 1]) if newlines is not None else 0)
            self._row += 1
        return lines, bad

    def _rest(self) -> list[tuple[int, csv.InvalidRow]]:
        """The rows behind the last that Arrow could read."""
        return [self._next_bad() for _ in range(len(self._bad))]

    def _next_bad(self) -> tuple[int, csv.InvalidRow]:
        row, line = self._bad.popleft(), self._line
        self._row, self._line = self._row + 1, line + 1 + row.text.count("\n")
        return line, row

    def _report(self, bad: Sequence[tuple[int, csv.InvalidRow]]) -> Iterator[list[Any]]:
        for line, row in bad:
            where = f"{self._path}, line {line}"
            values = "value" if row.actual_columns == 1 else "values"
            detail = f"{row.actual_columns} {values} instead of {row.expected_columns}"
            if not self._quarantine_enabled:
                raise SourceDataError(
                    f"{where}: {detail}",
                    hint="correct the line, or take it out; nothing of this run was loaded",
                )
            yield [envelope.unreadable(row.text, detail=detail, origin=where)]

    def _refused(self, line: int, row: Mapping[str, Any], column: Column, detail: str) -> list[Any]:
        where = f"{self._path}, line {line}"
        detail = f"`{column.source}`: {detail}"
        if not self._quarantine_enabled:
            raise SourceDataError(
                f"{where}: {detail}",
                hint="correct the line, or leave its column out of `types`, or set `encoding`; "
                "nothing of this run was loaded",
            )
        detail = f"{detail} ({where})"
        path = json_path("", column.name)
        return [envelope.refused(row, detail=detail, path=path, origin=where)]


def _newlines(batch: pa.RecordBatch) -> Any:
    """How many newlines are in the values of each row; None where there are none at all."""
    found = None
    for column in batch.columns:
        count = pc.count_substring(column, b"\n")
        if pc.sum(count).as_py():
            own = np.asarray(count.fill_null(0))
            found = own if found is None else found + own
    return found


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
