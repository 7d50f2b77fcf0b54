"""From an open file to rows: lists of them, Arrow tables, and what their columns are."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from millstream.config import FileStream
from millstream.errors import SourceDataError, SourceUnavailableError
from millstream.formats import row_keys
from millstream.quarantine import envelope
from millstream.sources import (
    column_values,
    csv_rows,
    file_content,
    file_kind,
    json_document,
    json_lines,
    parquet_rows,
    redirects,
)
from millstream.sources.column_keys import ColumnKeys, renamed
from millstream.sources.typed_columns import Declared, forget_sizes

_ROWS = 1000
_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_PERMITTED = (
    "let the user that runs this read the files and list their folders; nothing was lost"
)


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows of files of any kind.

    Attributes:
        parallel: chunks of JSON lines that are checked at once.
        has_quarantine: whether what can't be read goes to quarantine; else it is an error.
    """

    parallel: int
    has_quarantine: bool

    def rows(self, path: str, content: Any, settings: FileStream) -> Iterator[Any]:
        """Lists of rows, Arrow tables, and what their columns are, as dlt takes them."""
        for page in self.pages(path, content, settings):
            yield from hinted(page) if isinstance(page, Declared) else (page,)

    def pages(self, path: str, content: Any, settings: FileStream) -> Iterator[Any]:
        """Lists of rows, Arrow tables, and what their columns are: `Declared`."""
        import orjson

        if file_kind.is_typed(path, settings):
            columns = column_keys(settings)
            keys: Mapping[str, str] = {}
            notes: Mapping[bytes, bytes] = {}
            for page in self._typed_pages(path, content, settings, columns):
                if isinstance(page, Declared):
                    keys, decided = columns.in_rows(page.names)
                    notes = {envelope.ORIGIN: path.encode(), **row_keys.note(keys)}
                    hints: Any = page.hints
                    known = known_columns()
                    if file_kind.is_parquet(path, settings):  # known ones keep their types
                        hints = [
                            each
                            for each in hints
                            if not known.get(each["name"], {}).get("data_type")
                        ]
                    forget_sizes(known, hints)
                    # dlt checks all of them again for each file
                    hints = [each for each in hints if not _has(known, each)]
                    yield replace(page, hints=hints, keys=keys, decided=decided)
                elif settings.maps or isinstance(page, list):
                    page = renamed(page, keys)
                    yield column_values.parsed(page) if settings.maps else page
                else:
                    yield page.replace_schema_metadata({**(page.schema.metadata or {}), **notes})
            return
        if file_kind.is_document(path, content, settings):
            yield from json_document.read(
                path,
                content,
                quarantine_enabled=self.has_quarantine,
                may_be_lines=settings.format is None,
            )
            return
        for found in json_lines.read(
            path, content, self.parallel, quarantine_enabled=self.has_quarantine
        ):
            rows = found.each()
            for start in range(0, len(rows), _ROWS):
                yield list(map(orjson.Fragment, rows[start : start + _ROWS]))

    def _typed_pages(
        self, path: str, content: Any, settings: FileStream, columns: ColumnKeys
    ) -> Iterator[Any]:
        if file_kind.is_parquet(path, settings):
            content.seek(0)
            return parquet_rows.read(path, content, columns.names)
        return csv_rows.read(
            path, content, settings, columns.names, quarantine_enabled=self.has_quarantine
        )


def hinted(declared: Declared) -> Iterator[Any]:
    """What the columns are, as dlt takes it."""
    import dlt

    hints: Any = declared.hints
    if hints or declared.decided:
        table: Any = dict(declared.decided) or None
        made = dlt.mark.make_hints(columns=hints or None, additional_table_hints=table)
        yield dlt.mark.with_hints([], made)


def _has(known: Mapping[str, Any], hint: Mapping[str, Any]) -> bool:
    column = known.get(hint["name"], {})
    return all(column.get(name) == value for name, value in hint.items())


def column_keys(settings: FileStream) -> ColumnKeys:
    """The keys that are known of the columns of this resource's table."""
    import dlt

    return ColumnKeys(_known_table(), dlt.current.source_schema().naming, settings)


def known_columns() -> Mapping[str, Any]:
    """The columns that the table of this resource has in dlt's schema."""
    columns: Mapping[str, Any] = _known_table().get("columns", {})
    return columns


def _known_table() -> Any:
    import dlt

    schema = dlt.current.source_schema()
    return schema.tables.get(schema.naming.normalize_path(dlt.current.resource_name()), {})


@contextmanager
def unpacked(path: str, raw: Any, settings: FileStream) -> Iterator[Any]:
    with read_errors(path):
        kind, packed = file_kind.kind_of(path, settings)
        if kind == "parquet":
            yield file_content.as_is(raw)
            return
        yield file_content.as_text(
            path, raw, encoding=settings.encoding, packed=packed, is_json=kind != "csv"
        )


@contextmanager
def read_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        if (refused := redirects.refusal(error)) is not None:
            raise refused from None
        if isinstance(error, OSError) and error.errno in _FULL:
            raise  # of what is written meanwhile
        if isinstance(error, PermissionError):
            raise SourceUnavailableError(f"{path}: {error}", hint=NOT_PERMITTED) from error
        raise SourceDataError(
            f"{path}: can't be read: {error}",
            hint="is the file whole? Put it there again; nothing of this run was loaded",
        ) from error
