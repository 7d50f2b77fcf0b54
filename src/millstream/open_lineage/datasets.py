"""What a run reads and writes, as OpenLineage's datasets.

Names of datasets: https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    data_quality_metrics_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

import millstream
from millstream import destinations
from millstream.common.redact import redact_url
from millstream.config import (
    DltConfig,
    FilesConfig,
    GitHubConfig,
    MongoDBConfig,
    PipelineConfig,
    RestApiConfig,
    SqlDatabaseConfig,
)
from millstream.model import RunReport, Table

PRODUCER = f"urn:millstream:{millstream.__version__}"


def inputs(config: PipelineConfig, stream: str) -> list[InputDataset]:
    """What the stream reads."""
    return [InputDataset(namespace, name) for namespace, name in _read(config, stream)]


def outputs(config: PipelineConfig, stream: str, report: RunReport) -> list[OutputDataset]:
    """The tables that were loaded, with schema, where each column comes from, rows and profile."""
    namespace = _namespace(config)
    names = {table.name: table.full_name for table in report.tables}
    known = {table.name: table for table in report.schema.tables}
    read = _read(config, stream)
    found = []
    for load in report.tables:
        table = known.get(load.name, Table(load.name, load.parent))
        facets: dict[str, Any] = {
            "schema": schema_dataset.SchemaDatasetFacet(
                [
                    schema_dataset.SchemaDatasetFacetFields(each.name, each.data_type)
                    for each in table.columns
                ]
            ),
            "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(
                _lineage(table, read, namespace, names)
            ),
        }
        if metrics := _metrics(table):
            facets["dataQualityMetrics"] = (
                data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(
                    metrics, rowCount=load.rows, bytes=load.bytes
                )
            )
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=load.rows, size=load.bytes
        )
        found.append(
            OutputDataset(
                namespace,
                load.full_name,
                facets=facets,
                outputFacets={"outputStatistics": statistics},
            )
        )
    return found


def _lineage(
    table: Table, read: list[tuple[str, str]], namespace: str, names: dict[str, str]
) -> dict[str, Any]:
    """By column: the places in the JSON, or the parent's row."""
    found = {}
    for column in table.columns:
        fields = [
            column_lineage_dataset.InputField(place, name, column.origin)
            for place, name in read
            if column.origin
        ]
        if column.name == "_dlt_parent_id" and table.parent in names:
            parent = names[str(table.parent)]
            fields = [column_lineage_dataset.InputField(namespace, parent, "_dlt_id")]
        if fields:
            found[column.name] = column_lineage_dataset.Fields(fields)
    return found


def _metrics(table: Table) -> dict[str, Any]:
    return {
        column.name: data_quality_metrics_dataset.ColumnMetrics(
            nullCount=column.profile.nulls,
            count=float(column.profile.rows - column.profile.nulls),
            min=_number(column.profile.minimum),
            max=_number(column.profile.maximum),
        )
        for column in table.columns
        if column.profile is not None
    }


def _number(value: object) -> float | None:
    """The format knows the bounds of numbers alone."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _read(config: PipelineConfig, stream: str) -> list[tuple[str, str]]:
    """Namespace and name of each dataset of the source."""
    source = config.source
    match source:
        case GitHubConfig():
            names = [
                *source.repositories,
                *([f"{source.organization}/*"] * bool(source.organization)),
            ]
            return [(_origin(source.base_url), f"{name}/{stream}") for name in names]
        case MongoDBConfig():
            from millstream.sources.mongodb import connection

            return [(_origin(connection.address()), stream)]
        case SqlDatabaseConfig():
            from millstream.sources.sql_database import connection as sql

            return [(_origin(sql.address(source)), stream)]
        case FilesConfig():
            return [("file", redact_url(source.streams[stream].path))]
        case RestApiConfig():
            return [(_origin(str(source.client["base_url"])), stream)]
        case DltConfig():
            return [("dlt", f"{source.path}.{stream}")]


def _namespace(config: PipelineConfig) -> str:
    kind = config.destination.type
    if kind == "filesystem":
        found = urlsplit(destinations.bucket_url(config) or "")
        return f"{found.scheme}://{found.netloc}" if found.netloc else "file"
    server = destinations.server(config)
    return f"{kind}://{server}" if server else kind


def _origin(url: str) -> str:
    """Scheme, host and port of the first server, without user and password."""
    found = urlsplit(url)
    scheme = found.scheme.partition("+")[0]
    return f"{scheme}://{found.netloc.rpartition('@')[2].partition(',')[0]}"
