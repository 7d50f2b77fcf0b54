"""A `defs.yaml` for a dlt pipeline that is taken over: its source, its destination, its dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from millstream.config.json_schema import FILE_NAME, file_schema
from millstream.errors import ConfigError
from millstream.scaffold.render import defs_text
from millstream.scaffold.write import write_files

if TYPE_CHECKING:
    import dlt

_KEYS = """
  # dagster-dlt's asset keys, so that what is downstream of them stays where it is
  translation:
    key: "dlt_{source}_{{{{ table.name if table.parent else stream.name }}}}"
"""


def adopted_defs(
    source: str, left: dlt.Pipeline, folder: Path, *, has_dagster_dlt_keys: bool = False
) -> str:
    """The text of the file.

    Args:
        source: `module:function`.
        left: the dlt pipeline, attached to its working folder.
        folder: where the file is to lie; DuckDB's file is named from its project.
    """
    block = yaml.safe_dump({"source": {"type": "dlt", "path": source}}, sort_keys=False)
    keys = _KEYS.format(source=left.default_schema_name) if has_dagster_dlt_keys else ""
    destination = yaml.safe_dump({"destination": _destination(left, folder)}, sort_keys=False)
    return defs_text(
        pipeline_name(left.pipeline_name), _indented(block) + keys, _indented(destination)
    )


def write_adopted(text: str, folder: Path) -> Path:
    """Write the file, and beside it the schema by which editors complete it.

    Raises:
        ConfigError: there is one already; nothing was written.
    """
    files = {PurePosixPath("defs.yaml"): text, PurePosixPath(FILE_NAME): file_schema()}
    return write_files(files, folder)[0]


def adopted_folder(path: Path, name: str) -> Path:
    """Where the file goes: among the `defs` of a project of Dagster's, else to `path`."""
    import tomlkit

    try:
        described = tomlkit.parse((path / "pyproject.toml").read_text(encoding="utf-8")).unwrap()
        package = str(described["tool"]["dg"]["project"]["root_module"]).replace(".", "/")
    except (OSError, KeyError, TypeError, ValueError):
        return path
    found = [each / package for each in (path / "src", path) if (each / package).is_dir()]
    return found[0] / "defs" / pipeline_name(name) if found else path


def pipeline_name(name: str) -> str:
    """A dlt pipeline's name as one of Millstream's: lower case, snake_case, a letter first.

    >>> pipeline_name("GitHub-issues"), pipeline_name("2nd")
    ('github_issues', 'pipeline_2nd')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
    return plain if plain[:1].isalpha() else f"pipeline_{plain}".rstrip("_")


def _destination(left: dlt.Pipeline, folder: Path) -> Mapping[str, Any]:
    """What stands under `destination`; credentials are found where dlt has found them."""
    assert left.destination is not None
    kind = left.destination.destination_type.rpartition(".")[2]
    if left.destination.destination_name != kind:
        raise ConfigError(
            f"the dlt pipeline {left.pipeline_name!r} has a destination of its own name, "
            f"{left.destination.destination_name!r}",
            hint="`millstream init dlt DESTINATION` writes a project; let its `destination` name "
            "the same dataset, and adopt into it, without --source",
        )
    found: dict[str, Any] = {"type": kind}
    config: Any = left.destination_client().config
    if kind == "duckdb":
        found["database"] = os.path.relpath(config.credentials.database, folder)
    elif kind == "filesystem":
        found["options"] = {"bucket_url": config.bucket_url}
    return {**found, "dataset": left.dataset_name}


def _indented(block: str) -> str:
    return "".join(f"  {line}" for line in block.splitlines(keepends=True)).rstrip("\n")
