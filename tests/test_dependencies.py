"""What is installed is what is pinned, so that `make audit` looks at what the tests ran with."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def pinned() -> list[Requirement]:
    lines = CONSTRAINTS.read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def test_each_constraint_is_one_version() -> None:
    for each in pinned():
        assert re.fullmatch(r"==[\w.!+-]+", str(each.specifier)), each
        assert each.url is None, each


def test_what_is_installed_is_what_is_pinned() -> None:
    environment = {**default_environment(), "extra": ""}
    for each in pinned():
        if each.marker is None or each.marker.evaluate(environment):
            try:
                version = metadata.version(each.name)
            except metadata.PackageNotFoundError:
                continue  # an extra that this environment goes without
            assert each.specifier.contains(version, prereleases=True), (each, version)
