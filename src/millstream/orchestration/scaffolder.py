"""`dg scaffold defs millstream.Pipeline NAME`: a `defs.yaml` that loads as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dagster.components import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, Field

from millstream.errors import ConfigError

_YAML = """\
type: millstream.Pipeline

attributes:
  name: {name}
{source}
  destination:
    type: {destination}{destination_note}
  # schedule: "0 6 * * *"   # every day at 6:00 UTC; switch it on in Dagster's UI
"""

_SOURCES = {
    "github": """\
  source:
    type: github              # its token: GITHUB_TOKEN, in the environment or in .env
    repositories: [dlt-hub/dlt]
    streams: [issues, issue_comments]
""",
    "dlt": """\
  source:
    type: dlt                 # any dlt source or resource: package.module:function
    path: {module}:rows
    streams: [rows]
""",
}

_DLT_SOURCE = '''\
"""The rows to load: replace them with your own dlt source or resource."""

import dlt


@dlt.resource(primary_key="id", write_disposition="merge")
def rows():
    yield [{"id": 1, "name": "first", "labels": [{"name": "red"}, {"name": "blue"}]}]
'''

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

_PYTHON_SOURCES = {
    "github": '{"type": "github", "repositories": ["dlt-hub/dlt"]}',
    "dlt": '{{"type": "dlt", "path": "{module}:rows", "streams": ["rows"]}}',
}


class PipelineParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    source: Literal["github", "dlt"] = Field(default="github", description="Where rows come from.")
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
        source, destination = request.params.source, request.params.destination
        module = f"{_module(folder, request.project_root)}.source"
        if source == "dlt" and not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(
                f"{folder}: Python can't import {module!r}, where the rows come from",
                hint=f"name the folder {_name(folder)!r}",
            )
        name = _name(folder)
        if source == "dlt" and not (folder / "source.py").exists():
            (folder / "source.py").write_text(_DLT_SOURCE, encoding="utf-8")
        if request.scaffold_format == "python":
            text = _PYTHON.format(
                name=name,
                source=_PYTHON_SOURCES[source].format(module=module)
                if source == "dlt"
                else _PYTHON_SOURCES[source],
                destination=destination,
            )
            (folder / "component.py").write_text(text, encoding="utf-8")
            return
        text = _YAML.format(
            name=f"{name}_2" if request.append else name,
            source=_SOURCES[source].format(module=module).rstrip(),
            destination=destination,
            destination_note=""
            if destination in ("duckdb", "filesystem")
            else f"   # its credentials: DESTINATION__{destination.upper()}__CREDENTIALS, in .env",
        )
        path = request.target_path if request.append else folder / "defs.yaml"
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write(f"---\n{text}" if request.append else text)


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
