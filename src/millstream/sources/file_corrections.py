"""A file that has changed since it was loaded: what of it is read, and what then waits no longer.

Only lines that went to quarantine may have been corrected where the file has no primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from millstream.config import FileStream
from millstream.errors import SourceDataError
from millstream.quarantine import envelope
from millstream.sources import corrected_lines, csv_rows, file_kind, findings, json_lines
from millstream.sources.column_keys import renamed
from millstream.sources.file_rows import column_keys, unpacked


@dataclass(frozen=True, slots=True)
class Corrected:
    """The rows of corrected lines, and the digest of the text as it is now."""

    rows: Iterable[list[Any]]
    digest: str


def corrected(
    paths: Sequence[str],
    raw: Any,
    settings: FileStream,
    before: str | None,
    *,
    has_quarantine: bool,
) -> Corrected:
    """What was corrected in a file of which nothing else has changed.

    Args:
        paths: where the file is, then where it was.
        raw: its bytes, which can be read again.
        before: the digest of the text that was read.
        has_quarantine: whether what can't be read goes to quarantine.

    Raises:
        SourceDataError: rows that were loaded may have changed, too.
    """
    path = paths[0]
    correction = None
    if before is not None and has_quarantine:
        correction = find(paths, raw, settings, before)
    if correction is not None:
        read_line = _read_json_line(path)
        if file_kind.kind_of(path, settings)[0] == "csv":
            known = column_keys(settings)
            with _content(path, raw, settings) as opened:
                columns = csv_rows.columns(path, opened, settings, known.names)
            keys, _ = known.in_rows({each.source: each.name for each in columns})

            def read_line(number: int, line: bytes) -> list[Any]:
                found = csv_rows.read_line(path, columns, number, line, settings=settings)
                return list(renamed(found, keys))

        return Corrected(_corrected_rows(path, correction, read_line), correction.digest)
    raise SourceDataError(
        f"{path} has changed since it was loaded: its rows would be doubled",
        hint="set `primary_key`, so that rows merge; or put new rows into a new file. In "
        "JSON lines and CSV, lines in quarantine as `unreadable` may be corrected in place, if no "
        "other line changes; or use `millstream quarantine replay --id ID --row JSON`. "
        "`--full-refresh` reads all files again, and replaces the table",
    )


def find(
    paths: Sequence[str], raw: Any, settings: FileStream, before: str
) -> corrected_lines.Correction | None:
    """How a file differs from what was read of it, if in lines that were quarantined alone.

    Args:
        paths: where the file is, then where it was.
        raw: its bytes, which can be read again.
        before: the digest of the text that was read.
    """
    path = paths[0]
    if file_kind.is_parquet(path, settings):
        return None
    with _content(path, raw, settings) as opened:
        if file_kind.is_document(path, opened, settings):
            return None
    return corrected_lines.find(paths, partial(_content, path, raw, settings), before)


@contextmanager
def _content(path: str, raw: Any, settings: FileStream) -> Iterator[Any]:
    raw.seek(0)
    with unpacked(path, raw, settings) as content:
        yield content


def _read_json_line(path: str) -> Callable[[int, bytes], list[Any]]:
    import orjson

    def read_line(number: int, line: bytes) -> list[Any]:
        return [orjson.Fragment(row) for row in json_lines.read_line(path, number, line).each()]

    return read_line


def _corrected_rows(
    path: str, correction: corrected_lines.Correction, read_line: Callable[[int, bytes], list[Any]]
) -> Iterator[list[Any]]:
    """The rows of corrected lines, each with the note that its old line no longer waits."""
    import orjson

    for line in correction.lines:
        if line.entry.status != "waiting":
            findings.warn(
                f"{path}, line {line.number} has changed and was not read: a row for it was "
                "replayed from quarantine"
            )
            continue
        note = orjson.dumps(envelope.superseded(line.entry.without_document()))
        yield [*read_line(line.number, line.text), orjson.Fragment(note)]


def read_again(paths: Sequence[str]) -> Iterator[list[Any]]:
    """The notes that rows of a file are read again with the whole of it; bad ones wait anew."""
    import orjson

    notes = [
        envelope.read_again(entry.without_document()) for entry in corrected_lines.waiting_in(paths)
    ]
    if notes:
        yield [orjson.Fragment(orjson.dumps(note)) for note in notes]
