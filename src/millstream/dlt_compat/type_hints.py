"""The types of dlt's typed dictionaries, evaluated once for each of them.

dlt checks each column of a table, each time that a resource yields something, against the types of
a dictionary, which it evaluates anew: most of the CPU where a CSV file has thousands of columns.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import dlt.common.validation

from millstream.dlt_compat import contract

_validation: Any = dlt.common.validation
_evaluate = _validation.get_type_hints


def evaluate_once() -> None:
    """Let dlt remember them, in this process; else it works as before."""
    if _validation.get_type_hints is _evaluate and contract.problem("validation") is None:
        _validation.get_type_hints = _remembered


def _remembered(spec: Any, globalns: Any = None) -> dict[str, Any]:
    return _of(spec)


@cache
def _of(spec: Any) -> dict[str, Any]:
    module = sys.modules.get(spec.__module__)
    found: dict[str, Any] = _evaluate(spec, globalns=vars(module) if module else None)
    return found
