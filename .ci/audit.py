"""Look the pinned dependencies up in the advisory database of https://osv.dev, in one request.

    python .ci/audit.py

Exit code 1 where a pinned version has a known flaw. Where the database can't be asked, a line says
so, and the exit code is 0: a build never fails for want of a network. `make audit` is stricter.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
DATABASE = "https://api.osv.dev/v1/querybatch"
SECONDS = 5

ACCEPTED: Mapping[str, str] = {}
"""Advisories that do not concern us, each with the reason."""


def main(database: str = DATABASE) -> int:
    pins = pinned()
    try:
        found = flaws(pins, database)
    except (requests.RequestException, ValueError, TypeError, KeyError, AttributeError) as error:
        print(f"audit: SKIPPED, {database} could not be asked ({type(error).__name__})")
        return 0
    for pin, names in found.items():
        print(f"audit: {pin}: {', '.join(names)}: https://osv.dev/list?q={names[0]}")
    if not found:
        print(f"audit: {len(pins)} pinned versions, no known flaw")
    return 1 if found else 0


def pinned() -> list[tuple[str, str]]:
    """Every name and version, those for other Pythons and systems too."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return [(each.name, next(iter(each.specifier)).version) for each in found]


def flaws(pins: Sequence[tuple[str, str]], database: str) -> dict[str, list[str]]:
    """The advisories of each version that has any.

    Format: https://google.github.io/osv.dev/post-v1-querybatch/
    """
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in pins
    ]
    answer = requests.post(database, json={"queries": queries}, timeout=SECONDS)
    answer.raise_for_status()
    results = answer.json()["results"]
    if len(results) != len(pins):
        raise ValueError("not an answer for each version")
    found = {}
    for (name, version), result in zip(pins, results):
        known = [str(each["id"]) for each in result.get("vulns") or ()]
        if open_ones := [each for each in known if each not in ACCEPTED]:
            found[f"{name}=={version}"] = open_ones
    return found


if __name__ == "__main__":
    sys.exit(main())
