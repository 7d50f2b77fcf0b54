"""`schema diff`, a run, the log and Dagster's checks say the same of whatever became of the rows.

Compared is what they print, each in its own way, and not only what they decided.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from behaviour.feed import FEED
from millstream import destinations
from millstream.cli.report import moved_lines, warned_lines
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import SchemaHeldError
from millstream.model import Decision, RunReport
from millstream.orchestration.checks import PROFILE, SCHEMA, standing_result
from millstream.runs import pending_decisions, runner, status
from millstream.schema_changes import comes_and_goes, fingerprint, history
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
    """Rows with these fields; a value depends on the field's seed and the row alone.

    A seed that ends with `@` and a share is of a field that so many rows have.
    """

    def values(n: int) -> Iterator[tuple[str, Any]]:
        for name, seed in fields.items():
            seed, _, share = seed.partition("@")
            if not share or random.Random(f"{seed} {n}").random() < float(share):
                yield name, SHAPES[seed.split()[0]](random.Random(f"{seed} {n % 300}"), n)

    return [{"id": n, "changed": n, **dict(values(n))} for n in range(first, first + 120)]


def said(decisions: tuple[Decision, ...]) -> list[tuple[str, str, str]]:
    return sorted(
        (fingerprint(each.change), each.change.message, each.action) for each in decisions
    )


def printed(report: RunReport) -> set[str]:
    """What the command line prints of a run, beside the changes of its schema."""
    lines = [*warned_lines(report, io.StringIO()), *moved_lines(report, io.StringIO())]
    text = re.sub(r"\n {4}(?=\S)", " ", "\n".join(lines))
    return {
        re.sub(r" \([^()]*, id \w+\)$", "", line[4:])
        for line in text.split("\n")
        if "!" in line[:4]
    }


def expected(decisions: Sequence[Decision]) -> set[str]:
    """What a diff found that a run is to print so."""
    return {
        f"{each.change.table}: {each.change.message}" for each in decisions if each.action == "warn"
    }


def check_statements(config: PipelineConfig, ahead: Sequence[Decision], report: RunReport) -> None:
    """The run, the log and the check of shares say what the diff said."""
    assert printed(report) == expected(ahead)
    with destinations.reader(config) as destination:
        rows = history.changes(history.Place(destination, config.dataset), config.name)
    log = {
        f"{row['table_name']}: {row['message']}"
        for row in rows
        if row["load_id"] == report.load_id and row["action"] == "warn"
    }
    assert log == expected(ahead)
    key = dg.AssetCheckKey(dg.AssetKey(["shop", "orders"]), PROFILE)
    check = standing_result(config, "orders", key)
    moved = [each.change for each in ahead if comes_and_goes(each)]
    assert not moved or not check.passed
    for jump in report.jumps:
        assert jump.column in (check.description or ""), "of the newest load in the history"


@pytest.mark.parametrize(
    "seed",
    [2, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(60) if n != 2)],
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
    for step in range(6):
        fields["often"] = f"text often@{dice.choice([0.1, 0.4, 0.7, 1.0])}"
        FEED.rows = evolved(dice, fields, first)
        ahead = status.schema(config, "orders")
        check = standing_result(config, "orders", key)
        try:
            report = runner.run(config, "orders")
            decisions = report.decisions
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
            check_statements(config, ahead.decisions, report)
        assert said(ahead.decisions) == said(decisions)
        # one field arrives in fewer or more rows, one goes, one comes, one is renamed, one
        # becomes something else
        first += 60 if "orders" in config.source.path else 120
        names = sorted(fields)
        if dice.random() < 0.6:
            seldom = dice.choice(names)
            fields[seldom] = f"{fields[seldom].partition('@')[0]}@{dice.choice([0.1, 0.5, 0.9])}"
        if dice.random() < 0.5:
            del fields[names.pop(dice.randrange(len(names)))]
        if dice.random() < 0.5:
            fields[f"g{step}"] = f"{dice.choice(sorted(SHAPES))} g{step}"
        if dice.random() < 0.5:
            fields[f"h{step}"] = fields.pop(names.pop(dice.randrange(len(names))))
        if dice.random() < 0.3:
            fields[dice.choice(names)] = f"{dice.choice(sorted(SHAPES))} again {step}"
