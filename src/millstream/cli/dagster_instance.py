"""What the command line loaded, told to the Dagster instance that `DAGSTER_HOME` names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def tell(report: Callable[[Any], str]) -> None:
    """Let the instance know, where there is one; the rows are loaded, whatever it answers.

    Args:
        report: is given `millstream.orchestration.external_loads`, and returns what it reported.
    """
    if not os.environ.get("DAGSTER_HOME") or not find_spec("dagster"):
        return
    external_loads = import_module("millstream.orchestration.external_loads")
    try:
        told = report(external_loads)
    except Exception as error:
        from millstream.common.redact import redact

        text = redact(f"{type(error).__name__}: {error}")
        print(f"warning: Dagster was not told of these loads: {text}", file=sys.stderr)
    else:
        print(f"reported to Dagster: {told}", file=sys.stderr)
