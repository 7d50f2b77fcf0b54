"""Read a pipeline from its `defs.yaml`, as Dagster does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from millstream.config.environment import load_dotenv
from millstream.config.pipeline import PIPELINE_NAME, PipelineConfig, parse_pipeline
from millstream.config.yaml_limits import ensure_bounded
from millstream.errors import ConfigError

COMPONENT_TYPE = "millstream.Pipeline"
DAGSTERS = ("translation", "assets")
"""Attributes whose templates Dagster alone fills in, for one asset after the other."""


def read_pipeline(path: Path) -> PipelineConfig:
    """Read one pipeline from a `defs.yaml`, or from the only one below a folder.

    Where there is neither, `path` may be the name of a pipeline of the current folder's project.

    Also loads `.env` from the project's folder, which never overrides the environment.

    Raises:
        ConfigError: no such file, several to choose from, not YAML, not a pipeline.
    """
    import yaml

    path = _find_defs(path)
    project = project_of(path)
    load_dotenv(project)
    os.environ.setdefault("DLT_PROJECT_DIR", str(project))  # where dlt looks for secrets.toml
    text = _text(path)
    try:
        ensure_bounded(text, path, unique=True)
        documents = list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(
            f"{path}{line}: not YAML: {error.problem}", hint="correct the file"
        ) from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        # the last three: dates and numbers that are none, keys that can't be keys
        raise ConfigError(f"{path}: not YAML: {error}", hint="correct the file") from None
    ours = [each for each in documents if _is_pipeline(each)]
    if len(ours) != 1:
        found = f"{len(ours)} pipelines in one file" if ours else "not a Millstream pipeline"
        raise ConfigError(
            f"{path}: {found}", hint=f"one document with `type: {COMPONENT_TYPE}`, and one only"
        )
    attributes = ours[0].get("attributes")
    if isinstance(attributes, dict):
        attributes = {
            name: value if name in DAGSTERS else _filled(value, str(path))
            for name, value in attributes.items()
        }
    if not isinstance(attributes, dict):
        raise ConfigError(
            f"{path}: `attributes` is missing, or holds no attributes",
            hint="`name`, `source` and `destination` stand below it",
        )
    kind = str(ours[0].get("type"))
    return parse_pipeline(
        attributes,
        where=str(path),
        project=project,
        folder=path.parent,
        component=None if kind == COMPONENT_TYPE else kind,
    )


def pipelines_below(folder: Path) -> list[Path]:
    """The files in a folder, and those below it, that hold a pipeline."""
    return [
        file
        for file in sorted(folder.rglob("defs.yaml"))
        if ".venv" not in file.parts and _holds_pipeline(file)
    ]


def project_of(path: Path) -> Path:
    """The nearest folder at or above `path` with a `pyproject.toml`, else the file's own folder."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").is_file():
            return candidate
    return folder


def unset_variables(value: Any) -> list[str]:
    """The variables of `{{ env.NAME }}` in a value that the environment does not have.

    >>> unset_variables({"a": ["{{ env.NO_SUCH }}/x"], "b": "{{ env('NO_SUCH', 'y') }}"})
    ['NO_SUCH']
    """
    if isinstance(value, dict | list | tuple):
        within = value.values() if isinstance(value, dict) else value
        return list(dict.fromkeys(name for each in within for name in unset_variables(each)))
    if not isinstance(value, str):
        return []
    names = re.findall(r"\{\{\s*env\.(\w+)\s*\}\}", value)
    return [name for name in dict.fromkeys(names) if name not in os.environ]


def _is_pipeline(document: Any) -> bool:
    """Whether a document is a pipeline: of our component, or shaped as one of a subclass."""
    if not isinstance(document, dict):
        return False
    attributes = document.get("attributes")
    if document.get("type") == COMPONENT_TYPE or not isinstance(attributes, dict):
        return document.get("type") == COMPONENT_TYPE
    source = attributes.get("source")
    return isinstance(source, dict) and "type" in source and "name" in attributes


def _holds_pipeline(file: Path) -> bool:
    """Whether a file of a project is to be read; one that is not YAML is some other tool's."""
    import yaml

    found = _bytes(file)
    if COMPONENT_TYPE.encode() in found:
        return True
    if b"source" not in found:
        return False
    try:
        text = found.decode()
        ensure_bounded(text, file)
        return any(map(_is_pipeline, yaml.safe_load_all(text)))
    except (ConfigError, yaml.YAMLError, ValueError, TypeError, OverflowError):
        return False


def _filled(value: Any, where: str) -> Any:
    """The value with `{{ env.NAME }}` filled in, as Dagster does."""
    if isinstance(value, dict):
        return {key: _filled(each, where) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, where) for each in value]
    if not isinstance(value, str) or "{{" not in value:
        return value

    def fill(match: re.Match[str]) -> str:
        name = re.fullmatch(r"env\.(\w+)", match[1].strip())
        if name is None:
            raise ConfigError(
                f"{where}: the template {match[0]!r} is Dagster's alone",
                hint="`{{ env.NAME }}` works everywhere; with others, run the pipeline in Dagster",
            )
        if name[1] not in os.environ:
            raise ConfigError(f"{where}: the environment variable {name[1]} is not set")
        return os.environ[name[1]]

    return re.sub(r"\{\{(.*?)\}\}", fill, value)


def _find_defs(path: Path) -> Path:
    if path.is_file():
        return path
    found = pipelines_below(path) if path.is_dir() else []
    if not found and _may_be_name(path):
        found = [file for file in pipelines_below(project_of(Path())) if path.name in _names(file)]
    if not found and not path.is_dir():
        raise ConfigError(
            f"{path}: no such file" + (", nor a pipeline here" if _may_be_name(path) else ""),
            hint="name a defs.yaml, a folder with one, or a pipeline; a stream is chosen by "
            "`--stream`",
        )
    if not found:
        raise ConfigError(
            f"{path}: no defs.yaml of type {COMPONENT_TYPE} in this folder",
            hint="`millstream init github_issues duckdb` writes a project with one",
        )
    if len(found) > 1:
        top = path if path.is_dir() else project_of(Path())
        names = ", ".join(str(file.relative_to(top)) for file in found)
        raise ConfigError(
            f"{path}: more than one pipeline: {names}",
            hint="name one of them, by its file or by its `name`",
        )
    return found[0]


def _may_be_name(path: Path) -> bool:
    """Whether a path may be the name of a pipeline instead."""
    return re.fullmatch(PIPELINE_NAME, str(path)) is not None


def _names(file: Path) -> list[Any]:
    """The names of the pipelines that a file holds."""
    import yaml

    try:
        text = _text(file)
        ensure_bounded(text, file)
        ours = [each for each in yaml.safe_load_all(text) if _is_pipeline(each)]
    except (ConfigError, yaml.YAMLError, ValueError, TypeError, OverflowError):
        return []
    attributes = [each.get("attributes") for each in ours]
    return [each.get("name") for each in attributes if isinstance(each, dict)]


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8, from byte {error.start} on", hint="save it as UTF-8"
        ) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
