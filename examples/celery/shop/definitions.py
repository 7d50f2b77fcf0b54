"""What Dagster loads. A run is one task of Celery's: its one step needs no process of its own."""

import dagster as dg

import millstream
from shop.feed import DAILY

loads = millstream.assets(
    name="shop",
    source={"type": "dlt", "path": "shop.feed:shop"},
    destination={"type": "postgres"},
    steps="pipeline",
    partitions={
        "type": "time",
        "every": "day",
        "start": "2024-01-01",
        "cursor": "at",
        "streams": DAILY,
    },
)
by_day = dg.AssetSelection.assets(*(["shop", name] for name in DAILY))

defs = dg.Definitions(
    assets=loads,
    jobs=[
        dg.define_asset_job("by_day", selection=by_day),
        dg.define_asset_job("counters", selection=dg.AssetSelection.all() - by_day),
    ],
    executor=dg.in_process_executor,
)
