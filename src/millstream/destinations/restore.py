"""Take cursors and schema from the destination."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from millstream.destinations.writer import Loads

if TYPE_CHECKING:
    import dlt


def restore(pipeline: dlt.Pipeline, schema_name: str, loaded: Loads | None) -> None:
    """Make the pipeline go on where the last load ended.

    dlt takes the schema that was stored last by the clock. Where clocks disagree that may be an
    older one, without columns that are there by now; the newest load knows its own.
    """
    import dlt
    from dlt.common.destination.client import WithStateSync

    pipeline.sync_destination()
    if loaded is None or loaded.schema_hash is None or schema_name not in pipeline.schema_names:
        return
    schema = pipeline.schemas[schema_name]
    if schema.stored_version_hash == loaded.schema_hash:
        return
    with pipeline.destination_client(schema_name) as client:
        if not isinstance(client, WithStateSync):
            return
        stored = client.get_stored_schema_by_hash(loaded.schema_hash)
    # a schema above the load's is that of a load which made its tables and did not complete
    if stored is not None and stored.version > schema.version:
        pipeline.schemas.save_schema(dlt.Schema.from_dict(json.loads(stored.schema)))
