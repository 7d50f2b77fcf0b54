"""JSON lines and JSON files, local or remote, as bytes for as long as possible.

A line is not turned into objects: dlt's extract step takes it as it is, and the engine reads it
once, into columns. Which files were read is kept in the state of the resource, by
name, time of change and size: a file that comes late is not lost, and none is read twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from millstream import handover
from millstream.config import FilesConfig, FileStream
from millstream.errors import (
    ConfigError,
    MillstreamError,
    SourceDataError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.model import PARTITION_COLUMN, Check, Partition, Stream
from millstream.sources import json_document, json_lines, redirects
from millstream.sources.partition import holds, instant

if TYPE_CHECKING:
    from dlt.sources import DltResource

_ROWS = 1000
_PLACE = re.compile(r"\{partition(?::([^}]*))?\}")
"""`{partition}` in a path; `{partition:%Y/%m}` writes the window's start that way."""
_STAMP = b'"%s"' % PARTITION_COLUMN.encode()


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    stamp: str
    """Time of change and size, or whatever else the file system tells of its version."""
    changed: Any = None
    """Its time of change, as the file system tells it; None where it does not."""


class FilesSource:
    """Each stream is the files of one pattern.

    Args:
        in_parts: whether JSON lines may be handed to dlt as files of its own making, of which no
            row can be seen or changed on the way; while a run of ours extracts.
    """

    def __init__(
        self, config: FilesConfig, *, project: Path | None = None, in_parts: bool = False
    ) -> None:
        self.config = config
        self._in_parts = in_parts
        self.project = project or config.folder or Path.cwd()

    def streams(self) -> Sequence[Stream]:
        return [
            Stream(name, primary_key=each.primary_key, description=f"Files {each.path}")
            for name, each in self.config.streams.items()
        ]

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltResource:
        """The rows of the stream's new files; the first look at the place happens here.

        A partition is the files whose path names it (`{partition}` in `path`), else the rows whose
        field tells that they belong to it, else the files that were changed in its window.

        Raises:
            ConfigError: `path` has a place for the partition, and there is none; or files that
                change can't be told apart by the time of change, for want of a primary key.
            SourceNotFoundError: no file fits the pattern.
            SourceUnavailableError: the place can't be listed.
        """
        import dlt

        settings = _for(partition, stream, self._settings(stream))
        files = self._list(stream, settings, may_be_none=partition is not None)
        if partition is not None:
            return self._part(stream, settings, files, partition)

        def rows() -> Iterator[Any]:
            seen = dlt.current.resource_state(stream).setdefault("files", {})
            if full_refresh:
                seen.clear()
            for file in files:
                before = seen.get(file.path)
                if before == file.stamp:
                    continue
                if before is not None and not settings.primary_key:
                    raise SourceDataError(
                        f"{file.path} has changed since it was loaded: its rows would be doubled",
                        hint="set `primary_key`, so that rows merge, or load with --full-refresh",
                    )
                yield from self._handed_on(file.path, settings)
                seen[file.path] = file.stamp

        return self._resource(rows, stream, settings, replace=full_refresh)

    def _part(
        self, stream: str, settings: FileStream, files: Sequence[_File], partition: Partition
    ) -> DltResource:
        """The rows of one partition, whatever was read before."""
        what = f"stream {stream!r}"
        named = _PLACE.search(self._settings(stream).path) is not None
        if not named and partition.by is None:
            assert partition.window is not None, "`field` is set where there are static keys"
            start, end = partition.window
            for file in files:
                if file.changed is None:
                    raise ConfigError(
                        f"{what}: nothing tells when {file.path} was changed",
                        hint="set `partitions.cursor`, or put `{partition}` into `path`",
                    )
            files = [
                file for file in files if start <= instant(file.changed, partition, file.path) < end
            ]

        def rows() -> Iterator[list[Any]]:
            for file in files:
                for page in self._rows(file.path, settings):
                    mine = page
                    if not named and partition.by is not None:
                        mine = [row for row in page if holds(partition, _object(row), what)]
                    if mine:
                        yield [_stamped(row, partition) for row in mine]

        return self._resource(rows, stream, settings)

    def _resource(
        self, rows: Any, stream: str, settings: FileStream, *, replace: bool = False
    ) -> DltResource:
        import dlt

        disposition = "merge" if settings.primary_key else "append"
        resource: Any = dlt.resource
        made: DltResource = resource(
            rows,
            name=stream,
            primary_key=list(settings.primary_key) or None,
            write_disposition="replace" if replace else disposition,
        )
        return made

    def check(self) -> Sequence[Check]:
        checks = []
        for name, settings in self.config.streams.items():
            try:
                found = self._list(name, settings)
            except MillstreamError as error:
                checks.append(Check(name, False, error.message, error.hint))
            else:
                checks.append(Check(name, True, f"files that fit {settings.path}: {len(found)}"))
        return checks

    def _settings(self, stream: str) -> FileStream:
        try:
            return self.config.streams[stream]
        except KeyError:
            names = ", ".join(self.config.streams)
            raise ConfigError(f"no such stream: {stream!r}", hint=f"there is {names}") from None

    def _list(self, stream: str, settings: FileStream, *, may_be_none: bool = False) -> list[_File]:
        import fsspec

        path = settings.path
        if "://" not in path:
            path = str(self.project / path)
        try:
            fs, root = fsspec.core.url_to_fs(path, **self._options(path))
            found = (
                fs.glob(root, detail=True) if "*" in root or "?" in root else {root: fs.info(root)}
            )
        except (ImportError, ValueError) as error:
            raise ConfigError(f"stream {stream!r}: {settings.path}: {error}") from None
        except Exception as error:  # each file system has errors of its own
            if (refused := redirects.refusal(error)) is not None:
                raise refused from None
            if not isinstance(error, FileNotFoundError):
                raise SourceUnavailableError(
                    f"stream {stream!r}: {settings.path} can't be listed: {error}"
                ) from error
            found = {}
        files = [
            _File(fs.unstrip_protocol(name), _stamp(info), _changed(info))
            for name, info in ((name, _followed(fs, name, info)) for name, info in found.items())
            if info.get("type") == "file"
        ]
        if not files and not may_be_none:
            raise SourceNotFoundError(
                f"stream {stream!r}: no file fits {settings.path}",
                hint=f"relative paths start from {self.project}",
            )
        return sorted(files, key=lambda file: file.path)

    def _options(self, path: str) -> dict[str, Any]:
        return redirects.options(path, self.config.options, self.config.hosts)

    def _handed_on(self, path: str, settings: FileStream) -> Iterator[Any]:
        """Rows as dlt takes them fastest: JSON lines as whole files, where that may be."""
        if not (self._in_parts and handover.Engine.reads and _kind(path, settings)[0] == "jsonl"):
            yield from self._rows(path, settings)
            return
        import dlt

        folder = Path(dlt.current.pipeline().working_dir) / "parts"
        parallel, sets_aside = self.config.parallel, self.config.sets_aside
        with self._opened(path, settings) as file:
            for part in json_lines.parts(path, file, parallel, folder, sets_aside=sets_aside):
                yield dlt.mark.with_file_import(str(part.path), "typed-jsonl", part.rows)

    def _rows(self, path: str, settings: FileStream) -> Iterator[list[Any]]:
        import orjson

        with self._opened(path, settings) as file:
            if _kind(path, settings)[0] == "json":
                yield from json_document.read(path, file, sets_aside=self.config.sets_aside)
                return
            parallel, sets_aside = self.config.parallel, self.config.sets_aside
            for found in json_lines.read(path, file, parallel, sets_aside=sets_aside):
                rows = found.each()
                for start in range(0, len(rows), _ROWS):
                    yield list(map(orjson.Fragment, rows[start : start + _ROWS]))

    @contextmanager
    def _opened(self, path: str, settings: FileStream) -> Iterator[Any]:
        import fsspec

        with fsspec.open(path, "rb", **self._options(path)) as raw:
            try:
                yield _unpacked(raw, _kind(path, settings)[1])
            except (OSError, EOFError) as error:
                raise SourceDataError(
                    f"{path}: can't be read: {error}",
                    hint="is the file whole? Put it there again; nothing of this run was loaded",
                ) from error


def _followed(fs: Any, name: str, info: dict[str, Any]) -> dict[str, Any]:
    """What a link leads to: of those that fit a pattern, fsspec describes the links."""
    if not info.get("islink") and info.get("type") != "link":
        return info
    try:
        target: dict[str, Any] = fs.info(name)
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"{name} is a link that leads nowhere",
            hint="remove it, or put there what it leads to",
        ) from None
    return target


def _changed(info: dict[str, Any]) -> Any:
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified")
    return changed or info.get("updated")


def _stamp(info: dict[str, Any]) -> str:
    changed = _changed(info) or info.get("ETag") or info.get("etag") or ""
    return f"{changed} {info.get('size')}"


def _for(partition: Partition | None, stream: str, settings: FileStream) -> FileStream:
    """The settings with the partition's name in the path, where it has a place for it."""
    place = _PLACE.search(settings.path)
    if partition is None:
        if place:
            raise ConfigError(
                f"stream {stream!r}: {settings.path} is the files of a partition",
                hint="name `partitions` in defs.yaml, or put a `*` into the path",
            )
        return settings
    if place is None:
        if partition.by is None and not settings.primary_key:
            raise ConfigError(
                f"stream {stream!r}: a file that is changed moves to another window, and its rows "
                "would be doubled",
                hint="set `primary_key`; or `partitions.cursor`; or put `{partition}` into `path`",
            )
        return settings

    def name(found: re.Match[str]) -> str:
        if not found[1]:
            return partition.key
        if partition.start is None:
            raise ConfigError(
                f"stream {stream!r}: {found[0]} in {settings.path} is for windows of time",
                hint="`{partition}` alone stands for a static key",
            )
        return partition.start.astimezone(ZoneInfo(partition.timezone)).strftime(found[1])

    path = _PLACE.sub(name, settings.path)
    return settings.model_copy(update={"path": path})


def _object(row: Any) -> dict[str, Any]:
    """A row as an object; a line comes as it is."""
    import orjson

    if isinstance(row, orjson.Fragment):
        row = json.loads(orjson.dumps(row))  # integers of any length
    return row if isinstance(row, dict) else {"value": row}


def _stamped(row: Any, partition: Partition) -> Any:
    """A row with its partition; a line stays as it is, but for what is put behind its bracket."""
    import orjson

    line = orjson.dumps(row) if isinstance(row, orjson.Fragment) else b""
    if line.startswith(b"{") and _STAMP not in line:
        end = line.rindex(b"}")
        comma = b"," if line[1:end].strip() else b""
        added = _STAMP + b":" + orjson.dumps(partition.key)
        return orjson.Fragment(line[:end] + comma + added + line[end:])
    return {**_object(row), PARTITION_COLUMN: partition.key}


def _kind(path: str, settings: FileStream) -> tuple[str, str | None]:
    name = path.lower()
    compression = None
    for ending, kind in ((".gz", "gzip"), (".zst", "zstd"), (".zstd", "zstd")):
        if name.endswith(ending):
            name, compression = name.removesuffix(ending), kind
    if settings.format:
        return settings.format, compression
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl", compression
    if name.endswith((".json", ".geojson")):
        return "json", compression
    raise ConfigError(
        f"{path}: neither .jsonl nor .json", hint="name its `format`: `jsonl` or `json`"
    )


def _unpacked(file: IO[bytes], compression: str | None) -> Any:
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=file)
    if compression == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    return file
