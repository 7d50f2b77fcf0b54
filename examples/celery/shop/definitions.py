"""What Dagster loads. Each stream of a run, with its child tables, is a step, and a Celery task."""

from pathlib import Path

import dagster as dg
import yaml
from dagster_celery import celery_executor

import millstream
from shop.feed import DAILY

loads = millstream.step_assets(
    name="shop",
    source={"type": "dlt", "path": "shop.feed:shop"},
    destination={"type": "postgres"},
    partitions={
        "type": "time",
        "every": "day",
        "start": "2024-01-01",
        "cursor": "at",
        "streams": DAILY,
    },
)
by_day = dg.AssetSelection.assets(*(["shop", name] for name in DAILY))
# the settings of the workers, so that both speak of the same queue
celery = yaml.safe_load(Path(__file__).parents[1].joinpath("celery.yaml").read_text())

defs = dg.Definitions(
    assets=loads,
    jobs=[
        dg.define_asset_job("by_day", selection=by_day),
        dg.define_asset_job("counters", selection=dg.AssetSelection.all() - by_day),
    ],
    executor=celery_executor.configured(celery["execution"]["config"]),
)
