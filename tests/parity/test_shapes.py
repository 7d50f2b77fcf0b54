"""Every row hangs on its own parent, whatever shapes a path has in one block of documents.

An object here, a list there, a list of lists, a text, null or nothing. The reference is twenty
lines that put a document into rows; it shares no code with the engine, nor with dlt.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bson
import pytest
from tests.parity.harness import MEMORY, Case, Outcome, run
from tests.parity.test_bson import part

from millstream.engine.bson import reader
from millstream.engine.dlt import normalizer

NIGHTLY = bool(os.environ.get("MILLSTREAM_NIGHTLY"))
CASES = int(os.environ.get("MILLSTREAM_SHAPES", "1500" if NIGHTLY else "40"))

Place = tuple[tuple[str, int], ...]
"""A row: the table and the position in its list, for each list from the root on."""


def rows_of(document: dict[str, Any]) -> dict[Place, dict[str, str]]:
    """What a document must become: its rows, and what is in their columns."""
    rows: dict[Place, dict[str, str]] = {}

    def add(place: Place, table: str, item: Any) -> None:
        row = rows[place] = {}
        if isinstance(item, dict):
            flatten(place, table, row, item, ())
        elif isinstance(item, list):
            descend(place, f"{table}__list", item)
        elif item is not None:
            row["value"] = item

    def flatten(
        place: Place, table: str, row: dict[str, Any], value: Any, path: tuple[str, ...]
    ) -> None:
        for key, each in value.items():
            if isinstance(each, dict):
                flatten(place, table, row, each, (*path, key))
            elif isinstance(each, list):
                descend(place, "__".join((table, *path, key)), each)
            elif each is not None:
                row["__".join((*path, key))] = each

    def descend(place: Place, table: str, items: list[Any]) -> None:
        for position, item in enumerate(items):
            add((*place, (table, position)), table, item)

    add((), "items", document)
    return rows


def found_rows(outcome: Outcome) -> dict[int, dict[Place, dict[str, str]]]:
    """What landed, by the root's `n`; each row in the place that its links say."""
    owner = {row["_dlt_id"]: (table, row) for table, rows in outcome.tables.items() for row in rows}
    assert len(owner) == sum(map(len, outcome.tables.values())), "an id is there twice"
    found: dict[int, dict[Place, dict[str, str]]] = {}
    for table, rows in outcome.tables.items():
        for row in rows:
            place: list[tuple[str, int]] = []
            above, up = table, row
            while "_dlt_parent_id" in up:
                place.insert(0, (above, up["_dlt_list_idx"]))
                above, up = owner[up["_dlt_parent_id"]]
            assert row.get("_dlt_root_id", up["_dlt_id"]) == up["_dlt_id"]
            values = {
                name: value
                for name, value in row.items()
                if value is not None and not name.startswith(("_dlt", "id is"))
            }
            assert tuple(place) not in found.setdefault(up["n"], {})
            found[up["n"]][tuple(place)] = values
    return found


class Shapes:
    """Documents in which a path has several shapes, and texts that say where they were put."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.keys = "abcd"[: self.chance.choice((1, 2, 2, 3, 4))]
        self.deep = self.chance.randint(3, 5)

    def template(self, depth: int = 0) -> Any:
        """A shape; a text stands for each value."""
        chance = self.chance
        kind = chance.choice(("object", "object", "list", "list", "list", "text", "null", "absent"))
        if depth == 0 or (kind == "object" and depth < self.deep):
            keys = [key for key in self.keys if chance.random() < 0.7]
            chance.shuffle(keys)
            made = {key: self.template(depth + 1) for key in keys}
            return {key: value for key, value in made.items() if value != "absent"}
        if kind == "list" and depth < self.deep:
            items = [self.template(depth + 1) for _ in range(chance.choice((0, 1, 1, 2, 2)))]
            return ["text" if each == "absent" else each for each in items]
        return {"null": None, "absent": "absent"}.get(kind, "text")

    def variant(self, template: Any, depth: int = 0) -> Any:
        """The same with some values in a list, or out of one, or gone."""
        chance = self.chance
        if isinstance(template, dict):
            changed = {key: self.variant(value, depth + 1) for key, value in template.items()}
            template = {key: value for key, value in changed.items() if value != "absent"}
        elif isinstance(template, list):
            template = [self.variant(each, depth + 1) for each in template]
            template = ["text" if each == "absent" else each for each in template]
        if depth == 0 or chance.random() < 0.6:
            return template
        kind = chance.choice(("into", "into", "out", "out", "text", "null", "absent"))
        if kind == "into":
            return [template] * chance.choice((1, 2)) if template != "absent" else []
        if kind == "out" and isinstance(template, list) and template:
            return template[0]
        return {"text": "text", "null": None, "absent": "absent"}.get(kind, template)

    def filled(self, template: Any, said: str) -> Any:
        if isinstance(template, dict):
            return {key: self.filled(value, f"{said}.{key}") for key, value in template.items()}
        if isinstance(template, list):
            return [self.filled(each, f"{said}.{n}") for n, each in enumerate(template)]
        return None if template is None else said

    def documents(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """A few to learn from, and many of the same shapes in any order, all in one block."""
        bases = [self.template() for _ in range(self.chance.randint(1, 3))]
        templates = [
            self.variant(self.chance.choice(bases)) for _ in range(self.chance.randint(4, 16))
        ]
        many = self.chance.choices(templates, k=self.chance.randint(20, 150))
        first = [{"n": n, **self.filled(each, str(n))} for n, each in enumerate(templates)]
        start = len(first)
        rest = [{"n": n, **self.filled(each, str(n))} for n, each in enumerate(many, start)]
        return first, rest


@pytest.mark.parametrize("form", ["bson", "json", "one by one"])
@pytest.mark.parametrize("chunk", range(4))
def test_rows_hang_on_their_own_parents(
    form: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _counted(monkeypatch)
    monkeypatch.setattr(reader, "TEACH", 4)
    expected = 0
    for seed in range(chunk, CASES, 4):
        first, rest = Shapes(seed).documents()
        expected += len(rest)
        merges = seed % 3 == 0
        resource = {"write_disposition": "merge", "primary_key": "n"} if merges else {}
        loads = [_load(form, documents) for documents in (first, rest)]
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            outcomes = run(Case(loads, resource), Path(folder), columnar=form != "one by one")
        for documents, outcome in zip((first, rest), outcomes):
            assert outcome.error is None
            found = found_rows(outcome)
            for document in documents:
                assert found.pop(document["n"]) == {
                    place: {**row, **({} if place else {"n": document["n"]})}
                    for place, row in rows_of(
                        {k: v for k, v in document.items() if k != "n"}
                    ).items()
                }, (seed, document)
            assert not found
    if form == "bson":  # or the reference was compared with the way through Python alone
        assert sum(read) > expected * 0.6


def _load(form: str, documents: Sequence[dict[str, Any]]) -> list[Any]:
    if form == "bson":
        return [part([bson.encode(each) for each in documents])]
    return [[list(documents[at : at + 40]) for at in range(0, len(documents), 40)]]


def _counted(patch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were read in columns, from now on."""
    read: list[int] = []
    take = normalizer.ColumnarNormalizer._take

    def counting(self: Any, root: str, settled: Any, raw: Any) -> None:
        take(self, root, settled, raw)
        read.append(settled[0].table.size)

    patch.setattr(normalizer.ColumnarNormalizer, "_take", counting)
    return read
