"""A pipeline as its user has it: `defs.yaml`, the `millstream` command and a destination."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import Any

import yaml

from services.mongod import Mongod
from services.places import Place
from services.processes import millstream

NAME = "shop"


@dataclass
class Project:
    """One pipeline from a database of its own into an empty destination.

    Attributes:
        db: the database, as pymongo's.
        other: the name of a second database, which does not exist yet.
    """

    server: Mongod
    db: Any
    other: str
    place: Place

    def define(self, source: str, *, databases: tuple[str, ...] = (), name: str = NAME) -> None:
        """Write `defs.yaml`.

        Args:
            source: what stands under `source`, as YAML text, since its spelling matters.
            databases: those to read; that of `db` where omitted.
        """
        shown = ", ".join(databases or (self.db.name,))
        text = f"type: millstream.Pipeline\nattributes:\n  name: {name}\n  source:\n"
        text += f"    type: mongodb\n    databases: [{shown}]\n" + indent(source, "    ").rstrip()
        text += "\n  schema_policy: anything\n"
        destination = {**self.place.destination, "dataset": self.place.dataset}
        text += indent(yaml.safe_dump({"destination": destination}), "  ")
        self.place.project.joinpath("defs.yaml").write_text(text, encoding="utf-8")

    def command(self, *arguments: str, fails: bool = False) -> str:
        """What `millstream` prints.

        Args:
            fails: whether the command is expected to exit with 1 instead of 0.
        """
        done = millstream(self.place.project, *arguments)
        said = done.stdout + done.stderr
        assert done.returncode == (1 if fails else 0), said
        return said

    def run(self, *arguments: str, fails: bool = False) -> str:
        return self.command("run", *arguments, fails=fails)

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Some columns of a table, in their own order."""
        shown = ", ".join(f'"{column}"' for column in columns)
        order = ", ".join(str(n + 1) for n in range(len(columns)))
        found = self.place.query(
            f"SELECT {shown} FROM {self.place.from_clause(table)} ORDER BY {order}"
        )
        return [tuple(row) for row in found]
