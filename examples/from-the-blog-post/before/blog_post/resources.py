from __future__ import annotations

from typing import Any

import dagster as dg
import dlt


class DltPipeline(dg.ConfigurableResource):
    pipeline_name: str
    dataset_name: str
    destination: str

    def create_pipeline(self, resource_data: Any, table_name: str) -> Any:
        """Load a resource into a table."""
        pipeline = dlt.pipeline(
            pipeline_name=self.pipeline_name,
            dataset_name=self.dataset_name,
            destination=self.destination,
        )
        return pipeline.run(resource_data, table_name=table_name)
