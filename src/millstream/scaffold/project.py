"""A whole Dagster project, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from millstream.errors import ConfigError
from millstream.scaffold.catalog import DESTINATIONS, SOURCES, SourceKind
from millstream.scaffold.names import package_name, project_name
from millstream.scaffold.render import render
from millstream.scaffold.write import write_files

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Project:
    """What was written.

    Attributes:
        package: the name of its Python package.
        defs: its `defs.yaml`.
        files: every file, the way they were written.
    """

    folder: Path
    package: str
    defs: Path
    files: tuple[Path, ...]


def write_project(
    source: str,
    destination: str,
    folder: Path | None = None,
    *,
    package: str | None = None,
    lists: Mapping[str, tuple[str, ...]] | None = None,
) -> Project:
    """Write a Dagster project that loads `source` into `destination`.

    Args:
        source: a key of `SOURCES`.
        destination: a key of `DESTINATIONS`.
        folder: where to; a new folder named after the source, here, when left out.
        package: the Python package's name; made from the folder's when left out.
        lists: the source's lists, such as `{"repositories": ("owner/name",)}`, for its defaults.

    Raises:
        ConfigError: no such source or destination, a file is in the way, or the folder's name
            can't be a package's. Nothing has been written then.
    """
    kind = _look_up("source", source, SOURCES)
    target = _look_up("destination", destination, DESTINATIONS)
    folder = Path(source) if folder is None else folder
    _check_lists(kind, lists or {})
    name = folder.resolve().name
    package = package_name(name) if package is None else package
    written = write_files(
        render(kind, target, project=project_name(name), package=package, lists=lists), folder
    )
    return Project(
        folder=folder,
        package=package,
        defs=folder / "src" / package / "defs" / kind.name / "defs.yaml",
        files=tuple(written),
    )


def _look_up(what: str, name: str, known: Mapping[str, Kind]) -> Kind:
    if name not in known:
        close = get_close_matches(name, list(known), n=1)
        raise ConfigError(
            f"no such {what}: {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}",
        )
    return known[name]


def _check_lists(kind: SourceKind, lists: Mapping[str, tuple[str, ...]]) -> None:
    for name in lists:
        if name not in kind.lists:
            raise ConfigError(f"{kind.name} takes no {name}")
