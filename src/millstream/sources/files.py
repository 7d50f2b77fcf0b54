"""JSON, CSV and Parquet files, local or remote, as bytes or Arrow tables for as long as possible.

A line of JSON is not turned into objects: dlt's extract step takes it as it is, and the engine
reads it once, into columns. Which files were read is kept in the state of the resource
(`file_state`): a file that comes late is not lost, and none is read twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from millstream.common.redact import redact_url
from millstream.config import FilesConfig, FileStream
from millstream.errors import (
    ConfigError,
    MillstreamError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.formats import engine_mode
from millstream.model import Check, Partition, Stream
from millstream.sources import (
    corrected_lines,
    csv_cells,
    csv_columns,
    file_content,
    file_corrections,
    file_kind,
    file_partitions,
    findings,
    json_lines,
    redirects,
)
from millstream.sources.file_listing import HTTP, ListedFile, list_files
from millstream.sources.file_rows import (
    NOT_PERMITTED,
    RowReader,
    hinted,
    known_columns,
    read_errors,
    unpacked,
)
from millstream.sources.file_state import FileState
from millstream.sources.joined_files import JoinedFiles
from millstream.sources.partition import instant
from millstream.sources.typed_columns import LINKS, Declared

if TYPE_CHECKING:
    from dlt.sources import DltResource

_PIECE = 4 << 20
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
"""What fsspec needs for the paths of these schemes."""


class FilesSource:
    """Each stream is the files of one pattern.

    Args:
        project: the folder that relative paths start from; the current one by default.
        maps: objects whose keys are data, by stream, beside those that the streams name.
        has_quarantine: whether a line that is not JSON goes to quarantine; else it is an error.
        in_parts: whether JSON lines may be handed to dlt as files of its own making, of which no
            row can be seen or changed on the way; while a run of ours extracts.
    """

    def __init__(
        self,
        config: FilesConfig,
        *,
        project: Path | None = None,
        maps: Mapping[str, tuple[str, ...]] | None = None,
        has_quarantine: bool = False,
        in_parts: bool = False,
    ) -> None:
        self.config = config
        self._in_parts = in_parts
        self._maps = maps or {}
        self._has_quarantine = has_quarantine
        self._reader = RowReader(config.parallel, has_quarantine)
        self.project = project or Path.cwd()

    def streams(self) -> Sequence[Stream]:
        return [
            Stream(
                name,
                primary_key=each.primary_key,
                description=f"Files {redact_url(each.path)}",
            )
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

        settings = file_partitions.for_partition(partition, stream, self._settings(stream))
        named = file_partitions.has_place(self._settings(stream).path)
        unlisted: list[PermissionError] = []
        files = self._list(stream, settings, may_be_none=named, unlisted=unlisted)
        if named and not files:
            self._require_any(stream)
        if partition is not None:
            return self._part(stream, settings, files, partition, unlisted)

        # Arrow tables are looked at on their way, where parts can't be seen
        in_parts = self._in_parts and not file_kind.may_be_typed(settings, files)

        def rows() -> Iterator[Any]:
            _warn_of(unlisted)
            seen = FileState(dlt.current.resource_state(stream), files, self.project)
            if full_refresh:
                seen.clear()
            self._find_renamed(files, settings, seen)
            unread = [file for file in files if not seen.is_current(file)]
            now = settings
            if unread and settings.types:
                now = csv_columns.settled(settings, known_columns())
            with closing(self._joined(settings, in_parts=in_parts)) as joined:
                for file in unread:
                    yield from self._unread(file, now, seen, joined)
                yield from map(_imported, joined.parts())
            _refuse_unknown_types(unread, now, stream)

        return self._resource(rows, stream, settings, files, replace=full_refresh)

    def _find_renamed(
        self, files: Sequence[ListedFile], settings: FileStream, seen: FileState
    ) -> None:
        """Take files that were renamed or moved since they were read for what they are."""
        found = []
        for file, keys in seen.renamed(files):
            with self._raw(file) as raw, unpacked(file.url, raw, settings) as content:
                found.append((file, keys, file_content.Digested(content).drained()))
        former = seen.rename(found)
        for file, _, _ in found:
            if file.key in former:
                was = former[file.key]
                findings.warn(f"{file.url} was not read: it was read before, as {was}")
        if self._has_quarantine:
            seen.find_moved(files, corrected_lines.places, partial(self._is_corrected, settings))

    def _is_corrected(
        self, settings: FileStream, file: ListedFile, places: Sequence[str], digest: str
    ) -> bool:
        """Whether a file has the text of one that is gone, but for quarantined lines."""
        with self._raw(file, again=True) as raw:
            found = file_corrections.find((file.url, *places), raw, settings, digest)
        return found is not None

    def _joined(self, settings: FileStream, *, in_parts: bool) -> JoinedFiles:
        import dlt

        return JoinedFiles(
            Path(dlt.current.pipeline().working_dir) / "parts",
            self.config.parallel,
            self._has_quarantine,
            in_parts and engine_mode.current().reads_raw_parts and not settings.maps,
        )

    def _unread(
        self, file: ListedFile, settings: FileStream, seen: FileState, joined: JoinedFiles
    ) -> Iterator[Any]:
        """The rows of a file, unless its content is what was read before."""
        before = seen.digest(file)
        is_twice = before is not None or file_kind.is_parquet(file.url, settings)
        with self._raw(file, again=is_twice) as raw:
            if before is not None:
                with unpacked(file.url, raw, settings) as content:
                    digest = file_content.Digested(content).drained()
                if digest == before:
                    if not seen.knows(file):
                        findings.warn(
                            f"{file.url} was not read: its text was read before, under the name of "
                            "another compression"
                        )
                    seen.add(file, digest)
                    return
                raw.seek(0)
            if seen.knows(file):  # what comes now is newer
                yield from map(_imported, joined.parts())
            # a file without rows, such as one whose writer had only begun, has nothing to double
            if seen.knows(file) and not settings.primary_key and seen.had_rows(file):
                corrected = file_corrections.corrected(
                    seen.paths(file), raw, settings, before, has_quarantine=self._has_quarantine
                )
                yield from corrected.rows
                seen.add(file, corrected.digest)
                return
            if seen.knows(file) and self._has_quarantine:
                yield from file_corrections.read_again(seen.paths(file))
            with unpacked(file.url, raw, settings) as content:
                digested = file_content.Digested(content)
                pages: Iterable[Any] = ()
                has_rows = False
                if file_kind.is_parquet(file.url, settings):  # which is read from its end
                    digested.drained()
                    pages = self._reader.rows(file.url, raw, settings)
                elif joined.takes(file) and not _is_document(file.url, digested, settings):
                    has_rows = bool(joined.add(file.url, digested))
                else:
                    yield from map(_imported, joined.parts())
                    pages = self._handed_on(file.url, digested, settings, joined)
                for page in pages:
                    has_rows = has_rows or _has_rows(page)
                    yield page
                digest = digested.drained()
                if has_rows and not settings.primary_key:
                    _warn_of_twin(file, seen.gone_with(file, digest))
                seen.add(file, digest, has_rows=has_rows)
            if joined.is_full:
                yield from map(_imported, joined.parts())

    def _part(
        self,
        stream: str,
        settings: FileStream,
        files: Sequence[ListedFile],
        partition: Partition,
        unlisted: Sequence[PermissionError],
    ) -> DltResource:
        """The rows of one partition, whatever was read before."""
        what = f"stream {stream!r}"
        named = file_partitions.has_place(self._settings(stream).path)
        if not named and partition.by is None and partition.window is not None:
            start, end = partition.window
            for file in files:
                if file.changed is None:
                    raise ConfigError(
                        f"{what}: nothing tells when {file.url} was changed",
                        hint="set `partitions.cursor`, or put `{partition}` into `path`",
                    )
            files = [
                file for file in files if start <= instant(file.changed, partition, file.url) < end
            ]

        def rows() -> Iterator[Any]:
            _warn_of(unlisted)
            now = csv_columns.settled(settings, known_columns()) if settings.types else settings
            for file in files:
                columns, read = Declared((), {}), 0
                for page in self._all_pages(file, now):
                    if isinstance(page, Declared):
                        columns = page
                        yield from hinted(page)
                        continue
                    if not named and partition.by is not None:
                        where = redact_url(file.url)
                        read += len(page)
                        page = file_partitions.rows_in(page, partition, columns, where, read)
                    if len(page):
                        yield file_partitions.stamped(page, partition)
            _refuse_unknown_types(files, now, stream)

        return self._resource(rows, stream, settings, files)

    def _resource(
        self,
        rows: Any,
        stream: str,
        settings: FileStream,
        files: Sequence[ListedFile],
        *,
        replace: bool = False,
    ) -> DltResource:
        import dlt

        disposition = "merge" if settings.primary_key else "append"
        key = list(settings.primary_key)
        if files and all(file_kind.is_csv(file.url, settings) for file in files):
            key = [csv_columns.key_column(each, settings.types) for each in key]
        resource: Any = dlt.resource
        made: DltResource = resource(
            rows,
            name=stream,
            primary_key=key or None,
            write_disposition="replace" if replace else disposition,
            columns=LINKS if file_kind.may_be_typed(settings, files) else None,
        )
        return made

    def read_again(
        self, stream: str, row: Mapping[str, Any], origin: str, known: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        settings = self._settings(stream)
        path = origin.rpartition(", line ")[0] or origin
        if not file_kind.is_typed(path, settings) or not file_kind.is_csv(path, settings):
            return row
        return csv_cells.read_again(row, settings, known)

    def check(self) -> Sequence[Check]:
        checks = []
        for name, settings in self.config.streams.items():
            try:
                pattern = file_partitions.of_any_partition(settings.path)
                found = self._list(name, settings.model_copy(update={"path": pattern}))
            except MillstreamError as error:
                checks.append(Check(name, False, error.message, error.hint))
            else:
                checks.append(
                    Check(name, True, f"files that fit {redact_url(settings.path)}: {len(found)}")
                )
        return checks

    def _settings(self, stream: str) -> FileStream:
        try:
            settings = self.config.streams[stream]
        except KeyError:
            names = ", ".join(self.config.streams)
            raise ConfigError(f"no such stream: {stream!r}", hint=f"there is {names}") from None
        maps = tuple(dict.fromkeys((*settings.maps, *self._maps.get(stream, ()))))
        return settings.model_copy(update={"maps": maps})

    def _list(
        self,
        stream: str,
        settings: FileStream,
        *,
        may_be_none: bool = False,
        unlisted: list[PermissionError] | None = None,
    ) -> list[ListedFile]:
        try:
            options = self._options(settings.path)
            files = list_files(settings.path, self.project, options, unlisted)
        except MillstreamError:
            raise
        except (ImportError, ValueError) as error:
            package = _PACKAGES.get(settings.path.partition("://")[0])
            raise ConfigError(
                f"stream {stream!r}: {redact_url(settings.path)}: {error}",
                hint=f"pip install {package}"
                if package and isinstance(error, ImportError)
                else None,
            ) from None
        except Exception as error:  # each file system has errors of its own
            if (refused := redirects.refusal(error)) is not None:
                raise refused from None
            if not isinstance(error, FileNotFoundError):
                raise SourceUnavailableError(
                    f"stream {stream!r}: {redact_url(settings.path)} can't be listed: {error}",
                    hint=NOT_PERMITTED if isinstance(error, PermissionError) else None,
                ) from error
            files = []
        if not files and not may_be_none:
            raise SourceNotFoundError(
                f"stream {stream!r}: no file fits {redact_url(settings.path)}",
                hint=f"relative paths start from {self.project}"
                if "://" not in settings.path
                else None,
            )
        return files

    def _require_any(self, stream: str) -> None:
        """That some partition has a file: else the place is gone, and no partition became empty.

        Raises:
            SourceNotFoundError: none has.
        """
        settings = self._settings(stream)
        if settings.path.startswith(HTTP):  # which lists nothing, as a rule
            return
        pattern = file_partitions.of_any_partition(settings.path)
        self._list(stream, settings.model_copy(update={"path": pattern}))

    def _options(self, path: str) -> dict[str, Any]:
        return redirects.options(path, self.config.options, self.config.hosts)

    def _handed_on(
        self, path: str, content: Any, settings: FileStream, joined: JoinedFiles
    ) -> Iterator[Any]:
        """Rows as dlt takes them fastest: JSON lines as whole files, where that may be."""
        if not joined.may_hand_parts or _is_document(path, content, settings):
            yield from self._reader.rows(path, content, settings)
            return
        parallel, quarantine_enabled = self.config.parallel, self._has_quarantine
        parts = json_lines.parts(
            path, content, parallel, joined.folder, quarantine_enabled=quarantine_enabled
        )
        yield from map(_imported, parts)

    def _all_pages(self, file: ListedFile, settings: FileStream) -> Iterator[Any]:
        if file_kind.is_parquet(file.url, settings):
            with self._raw(file, again=True) as raw, read_errors(file.url):
                yield from self._reader.pages(file.url, raw, settings)
            return
        with self._raw(file) as raw, unpacked(file.url, raw, settings) as content:
            yield from self._reader.pages(file.url, content, settings)

    @contextmanager
    def _raw(self, file: ListedFile, *, again: bool = False) -> Iterator[Any]:
        """The file's bytes; `again` if they are to be read twice: over a network they come once."""
        with read_errors(file.url), file.fs.open(file.name, "rb") as raw:
            if not again or file.is_local:
                yield raw
                return
            with TemporaryFile() as copy:
                while piece := raw.read(_PIECE):
                    copy.write(piece)
                copy.seek(0)
                yield copy


def _refuse_unknown_types(files: Sequence[ListedFile], settings: FileStream, stream: str) -> None:
    """Stop where `types` names a column of no file; which ones JSON has is known later."""
    if files and settings.types and all(file_kind.is_csv(each.url, settings) for each in files):
        csv_columns.refuse_unknown(settings, known_columns(), stream)


def _warn_of_twin(file: ListedFile, gone: str | None) -> None:
    if gone is not None:
        findings.warn(
            f"{file.url} has the text of {redact_url(gone)}, which is gone: if that was renamed, "
            "its rows are duplicated now; with a `primary_key` they would not be"
        )


def _warn_of(unlisted: Sequence[PermissionError]) -> None:
    for error in unlisted:
        findings.warn(f"no file below {error.filename} was read: {error.strerror}")


def _is_document(path: str, content: Any, settings: FileStream) -> bool:
    """Whether a file is something else than JSON lines."""
    return file_kind.is_typed(path, settings) or file_kind.is_document(path, content, settings)


def _imported(part: json_lines.Part) -> Any:
    import dlt

    return dlt.mark.with_file_import(str(part.path), "typed-jsonl", part.rows)


def _has_rows(page: Any) -> bool:
    from dlt.extract.items import DataItemWithMeta

    if isinstance(page, DataItemWithMeta):  # a part, or hints alone
        return page.data is None
    return bool(len(page))
