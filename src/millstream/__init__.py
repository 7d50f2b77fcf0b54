"""Millstream: messy nested data into clean, linked warehouse tables, as Dagster assets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.engine import accelerate
    from millstream.errors import MillstreamError
    from millstream.model import RunReport, SchemaChange
    from millstream.orchestration.assets import assets, definitions, step_assets
    from millstream.orchestration.component import Pipeline
    from millstream.orchestration.resource import MillstreamResource
    from millstream.orchestration.translation import TableData
    from millstream.runs.pending_decisions import accept, drop_pending, list_pending, reject
    from millstream.runs.pending_packages import PendingPackage
    from millstream.runs.runner import run

__version__ = "0.1.0"

# Nothing is imported before it is asked for: `millstream --help` needs neither dlt nor Dagster.
_HOMES = {
    "MillstreamError": "millstream.errors",
    "MillstreamResource": "millstream.orchestration.resource",
    "PendingPackage": "millstream.runs.pending_packages",
    "Pipeline": "millstream.orchestration.component",
    "PipelineConfig": "millstream.config",
    "RunReport": "millstream.model",
    "SchemaChange": "millstream.model",
    "TableData": "millstream.orchestration.translation",
    "accelerate": "millstream.engine",
    "accept": "millstream.runs.pending_decisions",
    "assets": "millstream.orchestration.assets",
    "definitions": "millstream.orchestration.assets",
    "drop_pending": "millstream.runs.pending_decisions",
    "list_pending": "millstream.runs.pending_decisions",
    "reject": "millstream.runs.pending_decisions",
    "run": "millstream.runs.runner",
    "step_assets": "millstream.orchestration.assets",
}

__all__ = [
    "MillstreamError",
    "MillstreamResource",
    "PendingPackage",
    "Pipeline",
    "PipelineConfig",
    "RunReport",
    "SchemaChange",
    "TableData",
    "__version__",
    "accelerate",
    "accept",
    "assets",
    "definitions",
    "drop_pending",
    "list_pending",
    "reject",
    "run",
    "step_assets",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        try:
            return getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            if error.name != "dagster":
                raise
            raise ModuleNotFoundError(
                f"millstream.{name} needs Dagster\n\nhint: pip install 'millstream[dagster]'",
                name=error.name,
            ) from None
    raise AttributeError(f"module 'millstream' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
