"""One run of one stream, step by step: extract, normalize, govern, load, report."""

from __future__ import annotations

from typing import Literal

from millstream.config import PipelineConfig
from millstream.model import RunReport

Progress = Literal["none", "log", "bar"]


def run(
    config: PipelineConfig,
    stream: str,
    *,
    full_refresh: bool = False,
    progress: Progress = "none",
) -> RunReport:
    """Load one stream of a pipeline."""
    raise AssertionError("being written")
