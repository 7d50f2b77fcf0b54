"""From an open file to rows: lists of them, Arrow tables, and what their columns are."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from millstream.config import FileStream
from millstream.errors import SourceDataError, SourceUnavailableError
from millstream.formats import row_keys
from millstream.formats.json_path import json_path
from millstream.formats.key_names import HINT, keys_by_name, snake_case
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
from millstream.sources.typed_columns import Declared, forget_sizes, keys_of

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
        called: by stream and column, what the first file of a run called it.
    """

    parallel: int
    has_quarantine: bool
    called: dict[str, dict[str, str]] = field(default_factory=dict)

    def rows(self, path: str, content: Any, settings: FileStream) -> Iterator[Any]:
        """Lists of rows, Arrow tables, and what their columns are, as dlt takes them."""
        for page in self.pages(path, content, settings):
            yield from hinted(page) if isinstance(page, Declared) else (page,)

    def pages(self, path: str, content: Any, settings: FileStream) -> Iterator[Any]:
        """Lists of rows, Arrow tables, and what their columns are: `Declared`."""
        import dlt
        import orjson

        if file_kind.is_typed(path, settings):
            primary = keys_of(settings.primary_key)
            keys, notes = primary, {}
            for page in self._typed_pages(path, content, settings):
                if isinstance(page, Declared):
                    called = self.called.setdefault(dlt.current.resource_name(), {})
                    keys, decided = json_keys(page.names, settings, called)
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

    def _typed_pages(self, path: str, content: Any, settings: FileStream) -> Iterator[Any]:
        if file_kind.is_parquet(path, settings):
            content.seek(0)
            return parquet_rows.read(path, content, settings.primary_key)
        return csv_rows.read(path, content, settings, quarantine_enabled=self.has_quarantine)


def hinted(declared: Declared) -> Iterator[Any]:
    """What the columns are, as dlt takes it."""
    import dlt

    hints: Any = declared.hints
    if hints or declared.decided:
        table: Any = dict(declared.decided) or None
        made = dlt.mark.make_hints(columns=hints or None, additional_table_hints=table)
        yield dlt.mark.with_hints([], made)


def json_keys(
    names: Mapping[str, str], settings: FileStream, called: dict[str, str]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What rows of a file call its columns, so that a key has one column in files of all kinds.

    That is the key which JSON has decided the name of; else what the first file called it.

    Args:
        names: of the columns, by what the file calls them.
        called: by column, what files before it called them; changed.

    Returns:
        By the names of columns the keys, where these are others; and as hints of the table, names
        that belong to a key from now on, since JSON would name it otherwise.
    """
    known = {path[0]: key for path, key in keys_by_name(_known_table()).items() if len(path) == 1}
    # those have names of their own, and paths of maps name what they are below as they always did
    paths = (*settings.maps, *settings.primary_key)
    others = {*paths, *(each.partition(".")[0] for each in paths)}
    keys = {
        name: known.get(name) or called.setdefault(name, key)
        for key, name in names.items()
        if not others & {name, key}
    }
    decided = {
        HINT + name: key
        for name, key in keys.items()
        if name not in known and snake_case().normalize_path(key) != name
    }
    others_called = {name: key for name, key in keys.items() if name != key}
    return {**others_called, **keys_of(settings.primary_key)}, decided


def renamed(page: Any, keys: Mapping[str, str]) -> Any:
    """Rows, those in envelopes too, with these keys in the place of columns' names."""
    if not keys or not isinstance(page, list):
        return page
    paths = {json_path("", name): json_path("", key) for name, key in keys.items()}
    return [_renamed(row, keys, paths) for row in page]


def _renamed(row: Any, keys: Mapping[str, str], paths: Mapping[str, str]) -> Any:
    if not envelope.is_one(row):
        return {keys.get(name, name): each for name, each in row.items()}
    if "row" not in row:
        return row
    note = row[envelope.KEY]
    path = note.get("path", "")
    return {
        envelope.KEY: {**note, "path": paths.get(path, path)},
        "row": _renamed(row["row"], keys, paths),
    }


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
