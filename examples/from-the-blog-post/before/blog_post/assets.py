from collections.abc import Iterator
from typing import Any

import dagster as dg

from blog_post.resources import DltPipeline
from blog_post.sources import github_issues_resource, mongodb_collection

DATABASES = {"sample_mflix": ["comments", "movies"]}


@dg.asset
def issues_pipeline(context: dg.AssetExecutionContext, pipeline: DltPipeline) -> None:
    info = pipeline.create_pipeline(github_issues_resource, table_name="github_issues")
    # what is new of the schema, as metadata; a hook sends it to Slack
    tables: dict[str, Any] = {}
    for package in info.load_packages:
        for name, table in package.schema_update.items():
            tables[name] = ", ".join(table["columns"])
    context.add_output_metadata({"schema_updates": tables})


def database_asset(database: str, collections: list[str]) -> dg.AssetsDefinition:
    """A multi-asset for a database: each of its collections an asset."""

    @dg.multi_asset(
        name=database,
        group_name=database,
        outs={
            name: dg.AssetOut(key_prefix=[f"raw_{database}"], is_required=False)
            for name in collections
        },
        can_subset=True,
    )
    def collections_asset(
        context: dg.AssetExecutionContext, mongodb_pipeline: DltPipeline
    ) -> Iterator[dg.Output[None]]:
        for name in sorted(context.op_execution_context.selected_output_names):
            mongodb_pipeline.create_pipeline(mongodb_collection(database, name), name)
            yield dg.Output(None, output_name=name)

    return collections_asset


mongodb_assets = [database_asset(*each) for each in DATABASES.items()]
