"""`millstream dbt`: sources, tests and staging models for a dbt project."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.cli.command import Command
from millstream.cli.pipeline import path_argument
from millstream.common.text import quantity

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.dbt import SourceTable


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    parser.add_argument(
        "--project",
        metavar="DIR",
        type=Path,
        help="the dbt project (default: the only dbt_project.yml below this folder)",
    )
    parser.add_argument(
        "--staging",
        action="store_true",
        help="also write a staging model for each table that has none",
    )
    parser.add_argument(
        "--nested",
        action="store_true",
        help="also write a model for each table with child tables, which has these as lists",
    )


def _run(options: Namespace) -> int:
    from millstream.cli.pipeline import quieten_dlt
    from millstream.common import atomic_write
    from millstream.config import read_pipeline
    from millstream.dbt import (
        DIALECTS,
        merged,
        nested_models,
        sources,
        staging_models,
        unproven,
    )
    from millstream.errors import ConfigError

    quieten_dlt()
    config = read_pipeline(options.path)
    project = _project(options.project)
    tables = _tables(config)
    file = project / "models" / f"{config.name}_sources.yml"
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        new = merged(text, sources(config.name, config.dataset, tables))
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}", hint=error.hint) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not in UTF-8", hint="save it in UTF-8") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    if new == text:
        print(f"{file}: up to date, {len(tables)} tables")
    else:
        atomic_write.write(file, new)
        print(f"{'updated' if text else 'wrote'} {file}: {len(tables)} tables")
    for column in unproven(new, config.name, tables) if _tests_keys(config) else ():
        print(
            f"{column}: tested to be unique, and not the primary key; the test stays: take it out "
            "where that is not so any more"
        )
    if options.staging:
        quote = "`" if config.destination.type in ("bigquery", "databricks") else '"'
        models = staging_models(config.name, tables, quote)
        _write(models, file.parent / "staging" / config.name, "staging")
    if options.nested:
        dialect = DIALECTS.get(config.destination.type)
        if dialect is None:
            raise ConfigError(
                f"--nested: lists are written for {', '.join(DIALECTS)} alone, not for "
                f"{config.destination.type}"
            )
        nested = list(nested_models(config.name, tables, dialect))
        folder = file.parent / "nested" / config.name
        _write(nested, folder, "nested")
        for name, model in nested:
            if (folder / name).read_text(encoding="utf-8") != model:
                print(
                    f"{folder / name} is not what would be written by now: delete it, and "
                    "`millstream dbt --nested` writes it with all columns and lists"
                )
    return 0


def _write(models: Iterable[tuple[str, str]], folder: Path, kind: str) -> None:
    """Write the models that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for name, model in models:
        if not (folder / name).exists():
            (folder / name).write_text(model, encoding="utf-8")
            made += 1
    wrote = quantity(made, f"{kind} model")
    print(f"wrote {wrote} to {folder}; those that were there stay as they are")


def _project(named: Path | None) -> Path:
    """The folder of the dbt project."""
    from millstream.errors import ConfigError

    if named is not None:
        if not (named / "dbt_project.yml").is_file():
            raise ConfigError(
                f"{named}: no dbt_project.yml in this folder", hint="`dbt init` makes a project"
            )
        return named
    here = Path()
    patterns = ("dbt_project.yml", "*/dbt_project.yml", "*/*/dbt_project.yml")
    found = [file for pattern in patterns for file in sorted(here.glob(pattern))]
    if len(found) != 1:
        names = ", ".join(str(file.parent) for file in found)
        raise ConfigError(
            f"several dbt projects: {names}" if found else "no dbt_project.yml below this folder",
            hint="name the project: --project DIR",
        )
    return found[0].parent


def _tables(config: PipelineConfig) -> list[SourceTable]:
    """The accepted tables of all streams.

    Raises:
        ConfigError: nothing is accepted yet.
    """
    from millstream import sources
    from millstream.dbt import SourceTable
    from millstream.destinations import accepted_store
    from millstream.errors import ConfigError

    store = accepted_store(config)
    accepted = store.load() if store is not None else {}
    keys = _asset_keys(config)
    merges = _tests_keys(config)
    found = []
    for stream in sources.of_pipeline(config).streams():
        for table in accepted[stream.name].tables if stream.name in accepted else ():
            key = [column.name for column in table.columns if column.primary_key]
            text = (
                f"One row per item of a list in `{table.parent}`."
                if table.parent
                else stream.description or f"The stream `{stream.name}`."
            )
            unique = tuple(key) if merges and len(key) == 1 and not table.parent else ()
            found.append(SourceTable(table, text, keys.get(table.name, ()), unique))
    if not found:
        raise ConfigError(
            f"pipeline {config.name!r}: no tables are accepted yet", hint="`millstream run` first"
        )
    return found


def _tests_keys(config: PipelineConfig) -> bool:
    """Whether no two rows of a table have one primary key, as far as it is known."""
    return config.destination.type != "filesystem" and config.names_keys


def _asset_keys(config: PipelineConfig) -> dict[str, tuple[str, ...]]:
    """Dagster's keys by table; none where Dagster is not installed."""
    try:
        from millstream.orchestration.specs import TABLE, asset_specs
    except ModuleNotFoundError:
        return {}
    return {str(each.metadata[TABLE]): tuple(each.key.path) for each in asset_specs(config)}


COMMAND = Command(
    name="dbt",
    summary="write the sources, tests and staging models of a dbt project",
    description="Writes `models/PIPELINE_sources.yml` from the accepted schema: tables, columns, "
    "types, where each value lies in the JSON, tests of keys and of the links between child and "
    "parent, freshness, and the keys of Dagster's assets. A file that is there is brought up to "
    "date: tables and columns are added, what people wrote stays.",
    examples=("millstream dbt", "millstream dbt --project warehouse --staging --nested"),
    arguments=_arguments,
    run=_run,
)
