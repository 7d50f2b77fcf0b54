import dagster as dg

from blog_post.assets import issues_pipeline, mongodb_assets
from blog_post.resources import DltPipeline

DESTINATION = "duckdb"  # the post has bigquery

defs = dg.Definitions(
    assets=[issues_pipeline, *mongodb_assets],
    jobs=[
        dg.define_asset_job("issues_pipeline_job", selection=["issues_pipeline"]),
        *(dg.define_asset_job(f"{each.op.name}_job", selection=[each]) for each in mongodb_assets),
    ],
    resources={
        "pipeline": DltPipeline(
            pipeline_name="github_issues",
            dataset_name="dagster_github_issues",
            destination=DESTINATION,
        ),
        "mongodb_pipeline": DltPipeline(
            pipeline_name="mongo", dataset_name="dagster_mongo", destination=DESTINATION
        ),
    },
)
