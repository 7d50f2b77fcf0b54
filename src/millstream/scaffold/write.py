"""Put files into a folder: all of them or none, nothing overwritten, nothing outside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from millstream.errors import ConfigError
from millstream.scaffold.render import Files


def write_files(files: Files, folder: Path) -> list[Path]:
    """Create every file below `folder`, which may exist; on any trouble, leave it as it was.

    Returns:
        The paths written, in the order of `files`.

    Raises:
        ConfigError: a file is there already, a link leads elsewhere, an absolute path leads to no
            folder that exists, or the disk refuses.
    """
    if folder.is_absolute() and not folder.parent.exists():
        raise ConfigError(
            f"{folder}: the folder {folder.parent} does not exist",
            hint=f"correct the path, or make the folder: mkdir -p {folder.parent}",
        )
    root = _real_root(folder)
    targets = {root / _inside(path): text for path, text in files.items()}
    _refuse_links(targets, root)
    if present := [path for path in targets if path.exists()]:
        names = ", ".join(str(path.relative_to(root)) for path in present[:3])
        more = f" and {len(present) - 3} more" if len(present) > 3 else ""
        raise ConfigError(
            f"{folder}: already there: {names}{more}",
            hint="nothing was written; choose an empty folder",
        )
    made: list[Path] = []
    try:
        for path, text in targets.items():
            _make_folders(path.parent, made)
            # O_EXCL: what appeared since the check above is not overwritten either
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            made.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except BaseException as error:
        _undo(made)
        if isinstance(error, OSError):
            raise ConfigError(
                f"{folder}: {error.strerror}: {error.filename or folder}",
                hint="nothing was left behind",
            ) from error
        raise
    return list(targets)


def _real_root(folder: Path) -> Path:
    if folder.is_symlink():
        raise ConfigError(
            f"{folder}: is a link to {folder.readlink()}",
            hint="name the folder that it leads to",
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file", hint="name a folder")
    return folder.resolve()


def _inside(path: PurePosixPath) -> PurePosixPath:
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigError(f"{path}: leads out of the project's folder")
    return path


def _refuse_links(targets: Iterable[Path], root: Path) -> None:
    for path in targets:
        for part in (path, *path.parents):
            if part == root:
                break
            if part.is_symlink():
                raise ConfigError(
                    f"{part}: is a link to {part.readlink()}",
                    hint="nothing was written; choose an empty folder",
                )
            if part != path and part.exists() and not part.is_dir():
                raise ConfigError(f"{part}: is a file, and a folder is needed there")


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def _undo(made: list[Path]) -> None:
    for path in reversed(made):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
