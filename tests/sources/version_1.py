"""What a GitHub stream of state version 1 left in the destination: rows, and state by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt


def commits(names: dict[str, list[str]]) -> Any:
    """Commits of repositories, each loaded up to the last of its hashes."""

    @dlt.resource(name="commits", primary_key=("repository", "sha"), write_disposition="merge")
    def rows() -> Iterator[list[dict[str, Any]]]:
        state = dlt.current.resource_state()
        for name, shas in names.items():
            known = state.setdefault("repositories", {})
            known[name.lower()] = {"name": name, "floor": None, "head": shas[-1]}
            yield [{"sha": sha, "repository": name} for sha in shas]

    return rows
