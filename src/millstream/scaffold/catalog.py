"""What `millstream init` can write: a table of sources and one of destinations.

A new source is a folder in `templates/sources` and a line in `SOURCES`; its files are
`source.yaml.tmpl` (the block of defs.yaml), `env.tmpl`, `schema.yaml` (the tables as a real load
made them) and whatever `tests` names. A destination likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One SOURCE of `millstream init`.

    Attributes:
        name: as typed, also the folder of defs.yaml in the project.
        title: how a sentence begins.
        pipeline: the pipeline's name, and the dataset's.
        tests: files of the project's `tests` folder.
        lists: placeholders that are written as YAML lists, with what stands there by default.
        extra: Millstream's extra that the source needs, if any.
    """

    name: str
    title: str
    pipeline: str
    tests: tuple[str, ...]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class DestinationKind:
    """One DESTINATION of `millstream init`."""

    name: str
    title: str
    extra: str | None = None


SOURCES: Mapping[str, SourceKind] = {
    kind.name: kind
    for kind in (
        SourceKind(
            name="github_issues",
            title="GitHub issues",
            pipeline="github",
            tests=("conftest.py", "issues.json", "test_pipeline.py"),
            lists={
                "repositories": ("dlt-hub/verified-sources",),
                "streams": ("issues", "issue_comments"),
            },
        ),
    )
}

DESTINATIONS: Mapping[str, DestinationKind] = {
    kind.name: kind
    for kind in (
        DestinationKind("duckdb", "DuckDB"),
        DestinationKind("postgres", "PostgreSQL", extra="postgres"),
        DestinationKind("bigquery", "BigQuery", extra="bigquery"),
    )
}
