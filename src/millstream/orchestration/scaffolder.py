"""`dg scaffold defs millstream.Pipeline NAME`: a `defs.yaml` that loads as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import yaml
from dagster.components import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, Field

from millstream.config.json_schema import FILE_NAME, LINE, file_schema
from millstream.errors import ConfigError
from millstream.scaffold import SOURCES, code, source_block

_YAML = """\
type: millstream.Pipeline

attributes:
  name: {name}
{source}
  destination:
    type: {destination}{destination_note}
  # schedule: "0 6 * * *"   # every day at 6:00 UTC; off until switched on in Dagster's UI
"""

_PYTHON = """\
from pathlib import Path

import dagster as dg
import millstream


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> millstream.Pipeline:
    return millstream.Pipeline(
        millstream.PipelineConfig(
            name="{name}",
            source={source},
            destination={{"type": "{destination}"}},
            project=context.project_root,
            folder=Path(__file__).parent,  # where the accepted schema lies
        )
    )
"""

_KINDS = {"github": "github_issues"}
"""By type of source, what `millstream init` calls it, where that is another name."""


class PipelineParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    source: Literal["github", "mongodb", "sql_database", "files", "dlt"] = Field(
        default="github", description="Where rows come from."
    )
    destination: str = Field(
        default="duckdb",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Where they go: duckdb, postgres, bigquery, or any other dlt destination.",
    )


class PipelineScaffolder(Scaffolder[PipelineParams]):
    """Writes the file by hand, since a dumped mapping has no comments."""

    @classmethod
    def get_scaffold_params(cls) -> type[PipelineParams]:
        return PipelineParams

    def scaffold(self, request: ScaffoldRequest[PipelineParams]) -> None:
        folder = request.target_path.parent if request.append else request.target_path
        destination = request.params.destination
        kind = SOURCES[_KINDS.get(request.params.source, request.params.source)]
        package, name = _module(folder, request.project_root), _name(folder)
        if kind.code and not all(part.isidentifier() for part in package.split(".")):
            raise ConfigError(
                f"{folder}: Python can't import {package!r}, where the rows come from",
                hint=f"name the folder {name!r}",
            )
        for module, text in code(kind).items():
            if not (folder / module).exists():
                (folder / module).write_text(text, encoding="utf-8")
        source = source_block(kind, package)
        if request.scaffold_format == "python":
            text = _PYTHON.format(
                name=name, source=yaml.safe_load(source)["source"], destination=destination
            )
            (folder / "component.py").write_text(text, encoding="utf-8")
            return
        text = _YAML.format(
            name=f"{name}_2" if request.append else name,
            source=source,
            destination=destination,
            destination_note=""
            if destination in ("duckdb", "filesystem")
            else f"   # its credentials: DESTINATION__{destination.upper()}__CREDENTIALS, in .env",
        )
        path = request.target_path if request.append else folder / "defs.yaml"
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write(f"---\n{text}" if request.append else LINE + text)
        (folder / FILE_NAME).write_text(file_schema(), encoding="utf-8")


def _name(folder: Path) -> str:
    """The folder's name as a pipeline's: lower case, snake_case, a letter first."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")[:40]
    return name if name[:1].isalpha() else f"pipeline_{name}".rstrip("_")


def _module(folder: Path, project_root: Path | None) -> str:
    """The folder as a module of the project, which keeps its packages in `src` or beside it."""
    root = project_root or folder.parent
    root = root / "src" if (root / "src") in folder.parents else root
    parts = folder.relative_to(root).parts if root in folder.parents else (folder.name,)
    return ".".join(parts)
