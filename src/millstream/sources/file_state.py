"""Which files were read, in the state of a stream, by what a file is and not by where it lies.

    {"version": 2, "projects": ["/srv/shop"],
     "files": {"data/a.jsonl": {"version": "1764331200.5 1024", "sha256": "...", "was": []}}}

`was` has the keys that the file had before it was renamed, and `projects` where the project lay:
so a row that went to quarantine is known to be of this file. `no_rows` is there where it had none.

A file whose version has changed, and whose text has not, is not read again: a copy of the project,
a clone, another compression or a server with other tags may have made it anew. Before version 2
keys were absolute URLs, and values the file's version alone.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from millstream.errors import ConfigError
from millstream.sources import file_content
from millstream.sources.file_listing import ListedFile, key_of

VERSION = 2
_PLACES = 20
_PACKED = (".gz", ".zst", ".zstd")

logger = logging.getLogger(__name__)


class FileState:
    """What a stream remembers of its files.

    Args:
        state: what dlt keeps for the resource; migrated, and changed in place.
        files: the stream's files as they are now, which tell where an earlier project lay.

    Raises:
        ConfigError: a newer Millstream has written the state.
    """

    def __init__(
        self, state: MutableMapping[str, Any], files: Sequence[ListedFile], project: Path
    ) -> None:
        version = state.get("version", 1)
        if version > VERSION:
            raise ConfigError(
                f"the state of these files has version {version}; this Millstream knows {VERSION}",
                hint="install the version of Millstream that loaded them last",
            )
        if version < VERSION:
            state["files"] = migrate(state.get("files") or {}, files, project)
            state["version"] = VERSION
        self._files: dict[str, dict[str, Any]] = state.setdefault("files", {})
        places = [each for each in state.get("projects", ()) if each != str(project)]
        self._projects = state["projects"] = [*places[-_PLACES:], str(project)]
        for file in files:
            if file.key not in self._files and file.other_key in self._files:
                self._files[file.key] = self._files.pop(file.other_key)
        # some file systems and tools write `é` as two characters, others as one
        present = {file.key for file in files}
        gone = {normalize("NFC", key): key for key in self._files if key not in present}
        for file in files:
            same = gone.get(normalize("NFC", file.key))
            if same is not None and file.key not in self._files:
                self._files[file.key] = self._files.pop(same)
        self._gone_elsewhere = {
            known.get("sha256"): key
            for key, known in self._files.items()
            if key not in present and "://" in key
        }

    def clear(self) -> None:
        self._files.clear()

    def knows(self, file: ListedFile) -> bool:
        return file.key in self._files

    def renamed(self, files: Sequence[ListedFile]) -> Iterator[tuple[ListedFile, Sequence[str]]]:
        """Local files that may have been read under other names, and the keys of these.

        A file that is renamed, moved or compressed keeps its time of change, and is gone from its
        old place; another may be there by now, as where names are swapped or logs rotate. A file
        elsewhere keeps its path where its host or its bucket has another name.
        """
        gone: dict[str, list[str]] = {}
        for key in self._gone(files):
            same = _path_elsewhere(key) or _time(self._files[key]["version"])
            gone.setdefault(same, []).append(key)
        for file in files:
            same = _time(file.version) if file.is_local else _path_elsewhere(file.key)
            keys = [key for key in gone.get(same, ()) if key != file.key]
            if keys and not self.is_current(file):
                yield file, keys

    def _gone(self, files: Sequence[ListedFile]) -> Iterator[str]:
        """The keys of files that are gone, or have another version."""
        present = {file.key: file.version for file in files}
        for key, known in self._files.items():
            if known.get("sha256") and present.get(key) != known["version"]:
                yield key

    def gone_with(self, file: ListedFile, digest: str) -> str | None:
        """A file elsewhere with this text that is gone; what tells a rename, such files lack.

        Time and place are new after a rename in a bucket, as those of another file are that has the
        same text by chance.
        """
        key = None if file.is_local else self._gone_elsewhere.get(digest)
        return key if key in self._files else None

    def rename(self, found: Sequence[tuple[ListedFile, Sequence[str], str]]) -> dict[str, str]:
        """Take files for those that were read under other keys, where their text is the same.

        Args:
            found: files, the keys that they may have had, and the digests of their text.

        Returns:
            The former keys, by the keys of today.
        """
        former: dict[str, str] = {}
        entries: dict[str, dict[str, Any]] = {}
        for file, keys, digest in found:
            if self._files.get(file.key, {}).get("sha256") == digest:
                continue  # it was written again
            for key in keys:
                if key not in former.values() and self._files[key]["sha256"] == digest:
                    former[file.key] = key
                    known = self._files[key]
                    was = [*known.get("was", ()), key]
                    entries[file.key] = {**known, "version": file.version, "was": was}
                    break
        for key in former.values():
            del self._files[key]
        self._files.update(entries)
        return former

    def find_moved(
        self,
        files: Sequence[ListedFile],
        quarantined: Callable[[], Collection[str]],
        is_that: Callable[[ListedFile, Sequence[str], str], bool],
    ) -> None:
        """Take new files for those that were read under other keys, where `is_that` says so.

        They count as changed since.

        Args:
            quarantined: where files were of which lines wait; asked where a file is gone.
            is_that: told a file, where such a one was, and the digest of its text.
        """
        gone = {key: self._places(key) for key in self._gone(files)}
        unreadable = frozenset(quarantined() if gone else ())
        gone = {key: places for key, places in gone.items() if unreadable.intersection(places)}
        for file in files if gone else ():
            for key, places in () if self.knows(file) else gone.items():
                known = self._files[key]
                if is_that(file, places, known["sha256"]):
                    del self._files[key], gone[key]
                    self._files[file.key] = {**known, "was": [*known.get("was", ()), key]}
                    break

    def paths(self, file: ListedFile) -> Sequence[str]:
        """Where the file is and where it was, as people were told."""
        return list(dict.fromkeys((file.url, *self._places(file.key))))

    def _places(self, key: str) -> list[str]:
        keys = (key, *self._files.get(key, {}).get("was", ()))
        local = [
            f"file://{os.path.normpath(f'{project}/{key}')}"
            for project in reversed(self._projects)
            for key in keys
            if "://" not in key
        ]
        return [*local, *(key for key in keys if "://" in key)]

    def is_current(self, file: ListedFile) -> bool:
        """Whether this version of the file was read."""
        return file.has_version and self._files.get(file.key, {}).get("version") == file.version

    def digest(self, file: ListedFile) -> str | None:
        """The digest of the content that was read; None where none was kept.

        A file that was read under the name of another compression (`a.jsonl`, then `a.jsonl.gz`)
        has the digest of that.
        """
        known = self._files.get(file.key)
        if known is None:
            known = next((self._files[key] for key in self._namesakes(file)), {})
        return known.get("sha256")

    def _namesakes(self, file: ListedFile) -> list[str]:
        plain = _unpacked(file.key)
        return [key for key in (plain, *(f"{plain}{end}" for end in _PACKED)) if key in self._files]

    def had_rows(self, file: ListedFile) -> bool:
        """Whether rows of the file were read, or may have been."""
        known = self._files.get(file.key, {})
        return not known.get("no_rows") and known.get("sha256") != file_content.EMPTY

    def add(self, file: ListedFile, digest: str, *, has_rows: bool | None = None) -> None:
        """Remember that this version of the file was read.

        Args:
            has_rows: None if it has what was read before.
        """
        known = self._files.get(file.key, {})
        no_rows = known.get("no_rows", False) if has_rows is None else not has_rows
        entry = {
            "version": file.version,
            "sha256": digest,
            "was": known.get("was"),
            "no_rows": no_rows,
        }
        self._files[file.key] = {key: value for key, value in entry.items() if value}


def migrate(
    old: Mapping[str, str], files: Sequence[ListedFile], project: Path
) -> dict[str, dict[str, Any]]:
    """State of version 1 as one of version 2, also where the project has moved meanwhile.

    The folder that it lay in is found by what the old keys and the files of today have in common.
    """
    made: dict[str, dict[str, Any]] = {}
    left = dict(old)
    for file in files:
        address = file.name if file.name in left else file.url  # of a URL, with its secrets
        if address in left:
            made[file.key] = {"version": _version(left.pop(address), file)}
    if any(file.is_local for file in files):
        for root, up in _roots(left, files):
            for url in [url for url in left if url.startswith(root)]:
                made.setdefault("../" * up + url[len(root) :], {"version": left.pop(url)})
    for url, version in left.items():
        made.setdefault(key_of(url, project), {"version": version})
    moved = 0
    for file in files:
        known = made.get(file.key)
        if known is None or file.url in old or known["version"] == file.version:
            continue
        # a copy has another time; version 1 kept nothing else to compare than the size
        if file.is_local and known["version"].rpartition(" ")[2] == str(file.size):
            known["version"] = file.version
            moved += 1
    if moved:
        logger.warning(
            "%d files have another time of change than before the project was copied, and the "
            "same name and size: they count as read",
            moved,
        )
    return made


def _version(old: str, file: ListedFile) -> str:
    """Version 1 had nothing but the size of files over HTTP that have no ETag."""
    tag, _, size = old.rpartition(" ")
    if not tag and size in (str(file.size), "None"):
        return file.version
    return old


def _roots(old: Mapping[str, str], files: Sequence[ListedFile]) -> list[tuple[str, int]]:
    """Folders where the project may have lain, most likely first, and how far above it they are."""
    below: dict[str, tuple[int, str]] = {}
    for file in files:
        if "://" not in file.key:
            path = file.key.lstrip("./") if file.key.startswith("../") else file.key
            below[path] = (file.key.count("../") if path != file.key else 0, file.version)
    score: Counter[tuple[str, int]] = Counter()
    for url, version in old.items():
        if not url.startswith("file:///"):
            continue
        end = len("file:///")
        while True:
            if (found := below.get(url[end:])) is not None:
                up, current = found
                score[url[:end], up] += 2 if version == current else 1
            end = url.find("/", end) + 1
            if not end:
                break
    return [root for root, _ in score.most_common()]


def _time(version: str) -> str:
    """Of a local file's version, the time of change; the rest is its size."""
    return version.rpartition(" ")[0]


def _path_elsewhere(key: str) -> str:
    """Of a file on another machine, its path there; of any other, nothing.

    >>> _path_elsewhere("s3://bucket/2026/a.jsonl"), _path_elsewhere("data/a.jsonl")
    ('2026/a.jsonl', '')
    """
    scheme, _, rest = key.partition("://")
    return "" if scheme == "file" or "::" in key else rest.partition("/")[2]


def _unpacked(key: str) -> str:
    for end in _PACKED:
        if key.lower().endswith(end):
            return key[: -len(end)]
    return key
