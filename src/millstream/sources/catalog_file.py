"""What `millstream discover` found, in a YAML file beside `defs.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from millstream.common import atomic_write
from millstream.config.yaml_limits import ensure_bounded
from millstream.errors import ConfigError

_Catalog = TypeVar("_Catalog")


def require_folder(folder: Path | None) -> Path:
    """
    Raises:
        ConfigError: there is no folder to keep the file in.
    """
    if folder is None:
        raise ConfigError(
            "there is nowhere to keep what is discovered",
            hint="give the pipeline a `folder`, as that of a defs.yaml is",
        )
    return folder


def write(path: Path, place: str, content: Mapping[str, Any]) -> Path:
    """Write a catalog, in the order of the content.

    Args:
        place: where it was found, in words.

    Raises:
        ConfigError: the folder can't be written.
    """
    import yaml

    text = f"# Written by `millstream discover`: what is in {place}. Definitions load from it.\n"
    text += yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    try:
        atomic_write.write(path, text)
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be written: {error.strerror or error}",
            hint="discover where the project can be written, and deploy it from there",
        ) from None
    return path


def read(path: Path, kind: str, make: Callable[[Any], _Catalog]) -> _Catalog | None:
    """The catalog in a file; None where nothing was discovered yet.

    Args:
        kind: what it lists, in words.
        make: makes it of what the file holds; whatever is missing there may raise as it does.

    Raises:
        ConfigError: the file is not one.
    """
    if not path.is_file():
        return None
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        ensure_bounded(text, path, unique=True)
        return make(yaml.safe_load(text))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError):
        raise ConfigError(
            f"{path}: not a catalog of {kind}", hint="remove it and run `millstream discover`"
        ) from None
