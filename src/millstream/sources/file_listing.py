"""Which files fit a path or pattern, on any file system that fsspec knows.

A pattern is split into a prefix that is taken literally, whatever characters it holds, and the
rest, which is matched. The project's folder always belongs to the prefix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.common.redact import redact_url
from millstream.errors import SourceNotFoundError

_MAGIC = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL = ("file://", "local://")
HTTP = ("http://", "https://")
# file systems that read from another one, which `::` separates from them; in any other path `::`
# is a part of a name
_CACHES = frozenset({"simplecache", "filecache", "blockcache", "cached"})
_WRAPPERS = _CACHES | {"zip", "tar", "libarchive", "dir", "reference"}
_REQUESTS = 8


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that fits the pattern.

    Attributes:
        fs: its file system.
        name: what the file system calls it.
        url: how people are told of it, without secrets.
        key: what it is in the state: relative to the project, or a URL.
        other_key: what it was, if the configuration named it absolutely before, and relative to the
            project now, or the other way round.
        version: what the file system says of its version, size included.
        has_version: whether a change of content changes `version`.
        size: in bytes; None where it is not known.
        changed: time of the last change, as the file system has it; None where it has none.
    """

    fs: Any
    name: str
    url: str
    key: str
    other_key: str
    version: str
    has_version: bool
    size: int | None
    changed: Any = None

    @property
    def is_local(self) -> bool:
        return self.url.startswith("file://")


def list_files(
    path: str,
    project: Path,
    options: Mapping[str, Any],
    unlisted: list[PermissionError] | None = None,
) -> list[ListedFile]:
    """The files that fit, by name; each once.

    Args:
        unlisted: gets what is wrong with local folders that may not be listed.

    Raises:
        SourceNotFoundError: a link leads nowhere.
        PermissionError: no file fits, and there is such a folder.
        ImportError, ValueError: fsspec does not know such paths.
    """
    fs, prefix, rest, chain = _locate(path, project, options)
    fs.invalidate_cache()  # a process that lives for days must see what came since
    found = _found(fs, prefix, rest)
    refused = getattr(fs, "refused", [])
    if refused and not found:
        raise refused[0]
    if unlisted is not None:
        unlisted += refused
    infos = {name: _target_info(fs, name, info) for name, info in _once(found).items()}
    is_http = path.startswith(HTTP)
    is_relative = not _SCHEME.match(path) and not path.startswith("/")
    if is_http and rest:  # a listing of links says nothing of the files
        with ThreadPoolExecutor(_REQUESTS, "millstream-info") as pool:
            infos = dict(zip(infos, pool.map(fs.info, infos)))
    files: dict[str, ListedFile] = {}
    for name, info in infos.items():
        if info.get("type") != "file":
            continue
        url = name if is_http else fs.unstrip_protocol(name)
        key = other_key = key_of(url, project, relative=is_relative)
        if key.startswith(("../", "file://")):  # outside the project
            other_key = key_of(url, project, relative=not is_relative)
        if chain:  # other_key: as versions before had it, which moved with no project
            key, other_key = f"{key}::{_chain_key(chain, project)}", f"{other_key}::{chain}"
        changed = _changed(info)
        tag = changed or _server_tag(info)
        size = info.get("size")
        files.setdefault(
            key,
            ListedFile(
                fs,
                name,
                redact_url(url),
                key,
                other_key,
                f"{tag} {size}",
                bool(tag),
                size,
                changed,
            ),
        )
    return sorted(files.values(), key=lambda file: file.url)


def _server_tag(info: Mapping[str, Any]) -> str:
    tag = str(info.get("ETag") or info.get("etag") or "")
    if tag and not tag.startswith("W/"):
        return tag
    # texts that mean the same may share a weak tag: RFC 9110, 8.8.1
    return f"{tag} {info.get('Last-Modified') or ''}".strip()


def key_of(url: str, project: Path, *, relative: bool = False) -> str:
    """What identifies a file: its path from the project, or its URL without secrets.

    Args:
        relative: whether the configuration names it relative to the project, so that it moves along
            with the project even where it lies outside.

    >>> key_of("file:///srv/shop/data/a.jsonl", Path("/srv/shop"))
    'data/a.jsonl'
    >>> key_of("file:///srv/a.jsonl", Path("/srv/shop")), key_of("http://u:p@h/a", Path("/srv"))
    ('file:///srv/a.jsonl', 'http://h/a')
    """
    if not url.startswith("file://"):
        return redact_url(url)
    local = Path(_resolved_dots(url.removeprefix("file://")))
    home = project.absolute()
    if local.is_relative_to(home):
        return str(local.relative_to(home))
    real, real_home = local.parent.resolve() / local.name, project.resolve()
    if real.is_relative_to(real_home):
        return str(real.relative_to(real_home))
    # by way of `..`: Path has none of it before Python 3.12
    return os.path.relpath(local, home) if relative else f"file://{local}"


def _chain_key(chain: str, project: Path) -> str:
    """What wraps files, such as `data/all.zip`, by where the archive lies from the project on."""
    *wrappers, last = chain.split("::")
    for scheme in _LOCAL:
        last = last.removeprefix(scheme)
    if not _SCHEME.match(last):
        is_relative = not last.startswith("/")
        last = key_of(f"file://{project / last}", project, relative=is_relative)
    return "::".join((*wrappers, redact_url(last)))


def _locate(
    path: str, project: Path, options: Mapping[str, Any]
) -> tuple[Any, str, str, str | None]:
    """The file system, the literal prefix, the pattern behind it, and what wraps it in the key."""
    import fsspec

    first, separator, target = path.partition("::")
    wrapper = first.partition("://")[0]
    if separator and wrapper in _WRAPPERS:
        *wrappers, last = path.split("::")
        if not _SCHEME.match(last):
            last = str(project / last)
        fs, root = fsspec.core.url_to_fs("::".join((*wrappers, last)), **options)
        prefix, rest = _split(root, 0, fs)
        return fs, prefix, rest, None if wrapper in _CACHES else target
    for scheme in _LOCAL:
        path = path.removeprefix(scheme)
    if not _SCHEME.match(path):
        start = 0 if path.startswith("/") else len(str(project)) + 1
        fs = _local_files(options)
        prefix, rest = _split(str(project / path), start, fs)
        return fs, prefix, rest, None
    if path.startswith(HTTP):
        scheme = path.partition("://")[0]
        kept = {k: v for k, v in options.items() if k not in ("http", "https")}
        fs = fsspec.filesystem(scheme, **kept, **options.get(scheme, {}))
        host = path.find("/", len(scheme) + 3)
        prefix, rest = _split(path, len(path) if host < 0 else host + 1, fs, magic="*[")
        return fs, prefix, rest, None
    if not separator:
        fs, root = fsspec.core.url_to_fs(path, **options)
    else:  # fsspec would take the name apart
        folder = first.rpartition("/")[0]
        fs, root = fsspec.core.url_to_fs(folder, **options)
        root += path[len(folder) :]
    prefix, rest = _split(root, 0, fs)
    return fs, prefix, rest, None


def _local_files(options: Mapping[str, Any]) -> Any:
    """Local files, which remember the folders that may not be listed: fsspec passes these over."""
    from fsspec.implementations.local import LocalFileSystem

    class LocalFiles(LocalFileSystem):  # type: ignore[misc]
        cachable = False

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.refused: list[PermissionError] = []

        def ls(self, path: str, detail: bool = False, **more: Any) -> Any:
            try:
                return super().ls(path, detail=detail, **more)
            except PermissionError as error:
                self.refused.append(error)
                raise

    return LocalFiles(**options)


def _split(path: str, start: int, fs: Any, magic: str = "*?[") -> tuple[str, str]:
    """A path's literal folders, and the rest from the first part on that is a pattern.

    A part such as `data [v1]` is literal where it exists, and a pattern else.
    """
    prefix, parts = path[:start], path[start:].split("/")
    for number, part in enumerate(parts):
        if set(part) & set(magic):
            literal = prefix + part
            if set(part) & {"*", "?"} & set(magic) or not fs.exists(literal):
                return prefix, "/".join(parts[number:])
        prefix += part + ("/" if number < len(parts) - 1 else "")
    return prefix, ""


def _found(fs: Any, prefix: str, rest: str) -> dict[str, dict[str, Any]]:
    if not rest:
        return {prefix: fs.info(prefix)}
    if not _MAGIC.search(prefix):
        found: dict[str, dict[str, Any]] = fs.glob(prefix + rest, detail=True)
        return found
    from fsspec.utils import glob_translate

    # what the prefix holds must not be read as a pattern
    matches = re.compile(glob_translate(rest)).match
    depth = None if "**" in rest else rest.count("/") + 1
    listed = fs.find(prefix, maxdepth=depth, withdirs=True, detail=True)
    # what fsspec documents for those who write file systems
    root = fs._strip_protocol(prefix).rstrip("/") + "/"  # noqa: SLF001
    return {name: info for name, info in listed.items() if matches(name.removeprefix(root))}


def _once(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without the links to files that fit themselves, and of links to one other file the first."""
    links = {name for name, info in found.items() if info.get("islink")}
    seen = {os.path.realpath(name) for name in found.keys() - links} if links else set()
    kept = {}
    for name in sorted(found):
        if name not in links or (target := os.path.realpath(name)) not in seen:
            kept[name] = found[name]
            if name in links:
                seen.add(target)
    return kept


def _target_info(fs: Any, name: str, info: dict[str, Any]) -> dict[str, Any]:
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


def _changed(info: Mapping[str, Any]) -> Any:
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified")
    return changed or info.get("updated")


def _resolved_dots(path: str) -> str:
    """A path without `..`, which may lead out of what a link leads to."""
    if ".." not in path.split("/"):
        return os.path.normpath(path)  # `//` and `/./`
    head, dots, tail = path.rpartition("/../")
    return str(Path(head + dots).resolve() / tail)
