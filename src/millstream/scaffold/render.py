"""A source and a destination -> the files of a project, as text. Touches no file of the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePosixPath

import millstream
from millstream.config.json_schema import FILE_NAME, LINE, file_schema
from millstream.scaffold.catalog import DestinationKind, SourceKind

_PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")

Files = Mapping[PurePosixPath, str]


def render(
    source: SourceKind,
    destination: DestinationKind,
    *,
    project: str,
    package: str,
    lists: Mapping[str, tuple[str, ...]] | None = None,
) -> Files:
    """The project's files by their path in it.

    Args:
        project: the name in pyproject.toml.
        package: the Python package's name.
        lists: what stands in the source's lists, such as `repositories`, instead of the defaults.
    """
    extras = ",".join(filter(None, ("dagster", source.extra, destination.extra)))
    words = {
        "project": project,
        "pipeline": source.pipeline,
        "dataset": source.pipeline,
        "tested": source.tested,
        "destination_name": destination.name,
        "destination_title": destination.title,
        "destination_variables": "\n".join(
            f"DESTINATION__{destination.name.upper()}__CREDENTIALS__{name}={example}"
            for name, example in destination.variables.items()
        ),
        "driver": "".join(f'    "{each}",\n' for each in destination.requirements),
        "version": millstream.__version__,
        "catalog": source.catalog,
        "extras": ",".join(dict.fromkeys(extras.split(","))),
        **_source_words(source, package, lists),
    }
    here, there = f"sources/{source.name}", f"destinations/{destination.folder}"
    words["source"] = source_block(source, package, lists)
    words["source_env"] = _template(f"{here}/env.tmpl", words)
    words["tables"] = _template(f"{here}/tables.tmpl", words).rstrip()
    steps = "discovered" if source.known == "discovered" else "fixed"
    words["known"] = _template(f"project/known_{source.known}.tmpl", words).rstrip()
    words["steps"] = _template(f"project/steps_{steps}.tmpl", words).rstrip()
    words["destination"] = _template(f"{there}/destination.yaml.tmpl", words).rstrip()
    words["destination_env"] = _template(f"{there}/env.tmpl", words).rstrip()
    words["destination_look"] = _template(f"{there}/look.tmpl", words).rstrip()

    inside = f"src/{package}"
    defs = f"{inside}/defs/{source.name}"
    written = {
        "pyproject.toml": _template("project/pyproject.toml.tmpl", words),
        "README.md": _template("project/README.md.tmpl", words),
        "AGENTS.md": _template("project/AGENTS.md.tmpl", words),
        ".gitignore": _template("project/gitignore.tmpl", words),
        ".env.example": _template("project/env.example.tmpl", words),
        "dagster.yaml": _template("project/dagster.yaml.tmpl", words),
        "Dockerfile": _template("project/Dockerfile.tmpl", words),
        ".dockerignore": _template("project/dockerignore.tmpl", words),
        f"{inside}/__init__.py": _template("project/package.py.tmpl", words),
        f"{inside}/definitions.py": _template("project/definitions.py.tmpl", words),
        f"{inside}/defs/__init__.py": _template("project/defs.py.tmpl", words),
        f"{defs}/defs.yaml": defs_text(words["pipeline"], words["source"], words["destination"]),
        f"{defs}/{FILE_NAME}": file_schema(),
        **{f"tests/{name}": _template(f"{here}/{name}.tmpl", words) for name in source.tests},
        **{f"{inside}/{name}": text for name, text in code(source).items()},
        **{f"data/{name}": _template(f"{here}/{name}.tmpl", words) for name in source.data},
    }
    if source.known == "tables":
        written[f"{defs}/schema.yaml"] = _text(f"{here}/schema.yaml")
    return {PurePosixPath(path): text for path, text in written.items()}


def defs_text(pipeline: str, source: str, destination: str) -> str:
    """A whole `defs.yaml` from its blocks."""
    words = {"pipeline": pipeline, "source": source, "destination": destination}
    return LINE + _template("project/defs.yaml.tmpl", words)


def source_block(
    source: SourceKind, package: str, lists: Mapping[str, tuple[str, ...]] | None = None
) -> str:
    """What stands under `source` in a defs.yaml, with comments.

    Args:
        package: where the code of a source of Python code is.
    """
    words = _source_words(source, package, lists)
    return _template(f"sources/{source.name}/source.yaml.tmpl", words).rstrip()


def code(source: SourceKind) -> Mapping[str, str]:
    """The modules that a source of Python code begins with, by file name."""
    return {name: _text(f"sources/{source.name}/{name}.tmpl") for name in source.code}


def _source_words(
    source: SourceKind, package: str, lists: Mapping[str, tuple[str, ...]] | None
) -> dict[str, str]:
    written = {**source.lists, **(lists or {})}
    return {
        "package": package,
        "kind": source.name,
        "title": source.title,
        "table": source.table,
        **{name: "\n".join(f"      - {each}" for each in of) for name, of in written.items()},
    }


def _template(path: str, words: Mapping[str, str]) -> str:
    """A template with its placeholders filled; one that nothing fills is a KeyError, never left."""
    return _PLACEHOLDER.sub(lambda match: words[match[1]], _text(path))


def _text(path: str) -> str:
    return files("millstream.scaffold").joinpath(f"templates/{path}").read_text(encoding="utf-8")
