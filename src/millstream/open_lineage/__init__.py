"""OpenLineage events of runs that Dagster does not see.

Events are sent where the client's own configuration says so: OPENLINEAGE_URL, OPENLINEAGE_CONFIG,
OPENLINEAGE__TRANSPORT__TYPE and its kin, or an `openlineage.yml` in the current folder. An event
that can't be sent is a warning: lineage must not stop a load.
Format: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.common.redact import redact_foreign
from millstream.config import PipelineConfig
from millstream.errors import MissingDependencyError
from millstream.model import RunReport

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient

logger = logging.getLogger(__name__)


def client() -> OpenLineageClient | None:
    """The client that the environment describes; None where it describes none.

    Raises:
        MissingDependencyError: it describes one, and the package is not installed.
    """
    described = any(name.startswith("OPENLINEAGE_") for name in os.environ)
    if not described and not Path("openlineage.yml").is_file():
        return None
    try:
        from openlineage.client import OpenLineageClient
    except ImportError:
        raise MissingDependencyError(
            "OpenLineage is configured, and the package 'openlineage-python' is not installed",
            hint="pip install 'millstream[openlineage]'",
        ) from None
    return OpenLineageClient()


@contextmanager
def events(
    client: OpenLineageClient | None, config: PipelineConfig, stream: str, partition: str | None
) -> Iterator[Callable[[RunReport], None]]:
    """Tell of a run that happens within the block: START, then COMPLETE, FAIL or ABORT.

    The block hands over its report, whose tables the last event describes.
    """
    if client is None:
        yield lambda report: None
        return
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import (
        error_message_run,
        job_type_job,
        nominal_time_run,
        set_producer,
    )
    from openlineage.client.uuid import generate_new_uuid

    from millstream.open_lineage import datasets

    set_producer(datasets.PRODUCER)
    found: list[RunReport] = []
    facets: dict[str, Any] = {}
    part = config.partition_of(stream, partition) if partition is not None else None
    if part is not None and part.start is not None and part.end is not None:
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(
            part.start.isoformat(), part.end.isoformat()
        )
    kind = job_type_job.JobTypeJobFacet("BATCH", "MILLSTREAM", "STREAM")
    namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "millstream"
    job = Job(namespace, f"{config.name}.{stream}", {"jobType": kind})
    run_id = str(generate_new_uuid())

    def tell(state: RunState) -> None:
        try:
            event = RunEvent(
                eventTime=datetime.now(timezone.utc).isoformat(),
                run=Run(run_id, facets),
                job=job,
                eventType=state,
                inputs=datasets.inputs(config, stream),
                outputs=datasets.outputs(config, stream, found[0]) if found else [],
                producer=datasets.PRODUCER,
            )
            client.emit(event)
        except Exception as error:
            logger.warning(
                "%s: no OpenLineage event was sent: %s", stream, redact_foreign(str(error))
            )

    tell(RunState.START)
    try:
        yield found.append
    except BaseException as error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            redact_foreign(str(error)), "Python"
        )
        is_failure = isinstance(error, Exception)
        tell(RunState.FAIL if is_failure else RunState.ABORT)
        raise
    tell(RunState.COMPLETE)
