"""Which files were read, in the state of a stream, by what a file is and not by where it lies.

    {"version": 2, "files": {"data/a.jsonl": {"version": "1764331200.5 1024", "sha256": "..."}}}

A file whose version has changed, and whose text has not, is not read again: a copy of the project,
a clone, another compression or a server with other tags may have made it anew. Before version 2
keys were absolute URLs, and values the file's version alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from millstream.errors import ConfigError
from millstream.sources.file_listing import ListedFile, key_of

VERSION = 2
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

    def clear(self) -> None:
        self._files.clear()

    def knows(self, file: ListedFile) -> bool:
        return file.key in self._files

    def renamed(self, files: Sequence[ListedFile]) -> Iterator[tuple[ListedFile, str]]:
        """New local files that may have been read under another name, and the key of that.

        A file that is renamed or moved keeps its time of change and its size, and is gone from its
        old place; another may be there by now.
        """
        present = {file.key: file.version for file in files}
        gone: dict[str, list[str]] = {}
        for key, known in self._files.items():
            if known.get("sha256") and present.get(key) != known["version"]:
                gone.setdefault(known["version"], []).append(key)
        for file in files:
            if file.is_local and not self.knows(file):
                yield from ((file, key) for key in gone.get(file.version, ()))

    def rename(self, key: str, file: ListedFile, digest: str) -> bool:
        """Take a file for the one that was read under a key, if its text is the same."""
        if self.knows(file) or self._files.get(key, {}).get("sha256") != digest:
            return False
        self._files[file.key] = self._files.pop(key)
        return True

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

    def add(self, file: ListedFile, digest: str) -> None:
        """Remember that this version of the file was read."""
        self._files[file.key] = {"version": file.version, "sha256": digest}


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


def _unpacked(key: str) -> str:
    for end in _PACKED:
        if key.lower().endswith(end):
            return key[: -len(end)]
    return key
