"""What receipts say of loads that nobody touched, counted."""

from __future__ import annotations

import atexit
import os
from collections import Counter
from pathlib import Path

from millstream.model import RunReport

LOADS: Counter[str] = Counter()
"""Loads that were looked at: all, and those whose values were compared."""


def problems(report: RunReport) -> list[str]:
    """What a run says that did not arrive, or that could not be verified."""
    if report.receipts:
        LOADS["loads"] += 1
        LOADS["compared"] += any(each.checked for each in report.receipts)
    unverified = [each for each in report.warnings if "not verified" in each]
    found = [f"{each.table}: {text}" for each in report.receipts for text in each.problems]
    return found + unverified


def unchecked(report: RunReport) -> list[str]:
    """Why values were not compared."""
    return [f"{each.table}: {each.unchecked}" for each in report.receipts if each.unchecked]


@atexit.register
def _show() -> None:
    if file := os.environ.get("MILLSTREAM_COUNT_LOADS"):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(f"{LOADS['loads']} loads, {LOADS['compared']} compared\n")
