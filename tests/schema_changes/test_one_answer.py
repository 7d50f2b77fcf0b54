"""`schema diff`, a run and Dagster's check say the same of whatever became of the rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import SchemaHeldError
from millstream.model import Decision
from millstream.orchestration.checks import SCHEMA, standing_result
from millstream.runs import pending_decisions, runner, status
from millstream.schema_changes import fingerprint
from services.places import NAME, duckdb

Row = dict[str, Any]
SHAPES = {
    "text": lambda dice, n: f"text {dice.random()}",
    "number": lambda dice, n: dice.randint(0, 10**9),
    "state": lambda dice, n: dice.choice(["open", "closed"]),
    "object": lambda dice, n: {"login": f"u{dice.random()}", "rank": n},
    "list": lambda dice, n: [{"sku": f"s{dice.random()}"} for _ in range(n % 3)],
    "null": lambda dice, n: None,
}


@pytest.fixture(autouse=True)
def feed() -> Iterator[None]:
    FEED.reset()
    yield
    FEED.reset()


def evolved(dice: random.Random, fields: dict[str, str], first: int) -> list[Row]:
    """Rows with these fields; a value depends on the field's seed and the row alone."""
    return [
        {
            "id": n,
            "changed": n,
            **{
                name: SHAPES[seed.split()[0]](random.Random(f"{seed} {n % 300}"), n)
                for name, seed in fields.items()
            },
        }
        for n in range(first, first + 120)
    ]


def said(decisions: tuple[Decision, ...]) -> list[tuple[str, str, str]]:
    return sorted(
        (fingerprint(each.change), each.change.message, each.action) for each in decisions
    )


@pytest.mark.parametrize(
    "seed",
    [2, 11, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(60) if n not in (2, 11))],
)
def test_all_of_them_say_the_same(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    place = duckdb(tmp_path)
    config = PipelineConfig(
        name=NAME,
        source=DltConfig(path=f"behaviour.feed:{dice.choice(['since', 'orders'])}"),
        destination=place.destination,
        project=tmp_path,
        folder=tmp_path,
        schema_policy=dice.choice(["evolve", "evolve", "strict"]),
    )
    key = dg.AssetCheckKey(dg.AssetKey(["shop", "orders"]), SCHEMA)
    fields = {f"f{n}": f"{dice.choice(sorted(SHAPES))} {n}" for n in range(5)}
    first = 0
    for step in range(4):
        FEED.rows = evolved(dice, fields, first)
        ahead = status.schema(config, "orders")
        check = standing_result(config, "orders", key)
        try:
            decisions = runner.run(config, "orders").decisions
        except SchemaHeldError as held:
            decisions = held.decisions
            again = status.schema(config, "orders")
            assert said(again.decisions) == said(decisions)
            assert again.row_count == 120
            assert not check.passed
            assert check.severity == dg.AssetCheckSeverity.ERROR
            if dice.random() < 0.5:
                pending_decisions.accept(config, "orders")
                accepted = status.schema(config, "orders").decisions
                assert {each.action for each in accepted} <= {"allow", "warn"}
                FEED.rows = []
                runner.run(config, "orders")
            else:
                pending_decisions.reject(config, "orders")
        else:
            assert check.severity == dg.AssetCheckSeverity.WARN
        assert said(ahead.decisions) == said(decisions)
        # one field goes, one comes, one is renamed, one becomes something else
        first += 60 if "orders" in config.source.path else 120
        names = sorted(fields)
        if dice.random() < 0.5:
            del fields[names.pop(dice.randrange(len(names)))]
        if dice.random() < 0.5:
            fields[f"g{step}"] = f"{dice.choice(sorted(SHAPES))} g{step}"
        if dice.random() < 0.5:
            fields[f"h{step}"] = fields.pop(names.pop(dice.randrange(len(names))))
        if dice.random() < 0.3:
            fields[dice.choice(names)] = f"{dice.choice(sorted(SHAPES))} again {step}"
