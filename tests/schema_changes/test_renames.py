"""Likely renames: by the values that a new column shares with one that is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import main
from millstream.model import Column, ColumnProfile, SchemaVersion, Table
from millstream.schema_changes.renames import Rename, column_renames, describe, list_rename

from .sketches import sketch


def column(name: str, values: Iterable[Any] = (), **traits: Any) -> Column:
    values = list(values)
    numbers = [value for value in values if isinstance(value, int)]
    profile = ColumnProfile(
        rows=max(len(values), 1),
        present=len(values),
        nulls=0 if values else 1,
        minimum=min(numbers, default=None),
        maximum=max(numbers, default=None),
        distinct=len({*values}),
        sketch=sketch(values),
    )
    return Column(name, "bigint" if numbers else "text", profile=profile, **traits)


def renames(gone: list[Column], added: list[Column], others: Iterable[Column] = ()) -> list[Any]:
    was = Table("t", None, (*gone, *others))
    stale = tuple(Column(each.name, each.data_type) for each in gone)
    now = Table("t", None, (*stale, *others, *added))
    return sorted((each.old, each.new) for each in column_renames(gone, was, now))


EMAILS = [f"user{n}@example.org" for n in range(40)]
STATES = ["open", "closed", "draft"] * 30


def test_values_that_came_back_make_a_rename() -> None:
    assert renames([column("email", EMAILS)], [column("contact", EMAILS)]) == [("email", "contact")]
    assert renames([column("email", EMAILS)], [column("contact", EMAILS[:21] + ["x"] * 3)]) == [
        ("email", "contact")
    ]


@pytest.mark.parametrize(
    ("gone", "added"),
    [
        (column("email", EMAILS), column("contact", [f"other {n}" for n in range(40)])),
        (column("email", EMAILS), column("contact", EMAILS[:7])),  # too few
        (column("email", EMAILS), column("contact", [*EMAILS[:10], *map(str, range(30))])),
        (column("state", STATES), column("phase", STATES)),  # states agree by chance
        (column("owner__type", STATES), column("parent__type", STATES)),  # any object has a type
        (column("stars", [*range(10)] * 9), column("forks", [*range(10)] * 9)),
        (column("email", EMAILS), column("contact__v_text", EMAILS, variant_of="contact")),
        (column("_dlt_id", EMAILS), column("contact", EMAILS)),
    ],
)
def test_values_that_prove_nothing(gone: Column, added: Column) -> None:
    assert renames([gone], [added]) == []


def test_alike_names_need_fewer_values() -> None:
    assert renames([column("state", STATES)], [column("states", STATES)]) == [("state", "states")]


def test_each_column_has_one_other_name_at_most() -> None:
    gone = [column("email", EMAILS), column("mail", EMAILS)]
    added = [column("email_address", EMAILS), column("contact", EMAILS[:20] + ["x"] * 19)]
    found = renames(gone, added)
    assert len({old for old, _ in found}) == len({new for _, new in found}) == len(found)
    assert ("email", "email_address") in found


def test_an_object_is_renamed_as_a_whole_unless_it_still_arrives() -> None:
    logins, names = [f"u{n}" for n in range(30)], [f"name {n}" for n in range(30)]
    gone = [column("user__login", logins), column("user__name", names)]
    added = [column("author__login", logins), column("author__name", names)]
    assert renames(gone, added) == [("user", "author")]
    assert renames(gone, added, [column("user__id", [1])]) == [
        ("user__login", "author__login"), ("user__name", "author__name"),
    ]  # fmt: skip


def test_a_list_is_renamed_by_its_columns() -> None:
    labels = Table("t__labels", "t", (column("name", EMAILS),))
    marks = Table("t__marks", "t", (column("name", EMAILS),))
    tags = Table("t__tags", "t", (column("title", EMAILS),))
    elsewhere = Table("t__x__marks", "t__x", (column("name", EMAILS),))
    old = SchemaVersion((Table("t"), labels))
    assert list_rename(labels, old, SchemaVersion((Table("t"), labels, marks, tags))) == Rename(
        "labels", "marks", 1.0, frozenset()
    )
    for other in (tags, elsewhere):
        assert list_rename(labels, old, SchemaVersion((Table("t"), labels, other))) is None


def test_lists_of_few_values_are_none_of_each_other(tmp_path: Path) -> None:
    """Two lists may hold the same small numbers; one with a name alike is the same list."""

    def run(number: int, line: Callable[[int], dict[str, object]]) -> int:
        lines = [json.dumps({"id": number * 100 + n, **line(n)}) for n in range(40)]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(lines))
        return main(["run", str(tmp_path)])

    attributes = {
        "name": "survey",
        "source": {"type": "files", "streams": {"t": {"path": "*.jsonl"}}},
        "destination": {"type": "duckdb", "database": "warehouse.duckdb"},
    }
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "defs.yaml").write_text(json.dumps({"attributes": attributes}))
    assert run(1, lambda n: {"scores": [n % 3], "rooms": [{"floor": n % 4}]}) == 0
    assert run(2, lambda n: {"answers": [n % 3], "halls": [{"floor": n % 4}]}) == 0
    assert run(3, lambda n: {"all_answers": [n % 3], "halls": [{"floor": n % 4}]}) == 1


def test_the_message_names_both_and_the_share() -> None:
    change = describe("t", Rename("user", "author", 0.5, frozenset({"user__a", "user__b"})))
    assert (change.column, change.old, change.new, change.severity) == (
        "user", "user", "author", "breaking",
    )  # fmt: skip
    assert change.message == (
        "`user` with its 2 fields is gone and `author` came, a likely rename: 50% of its values "
        "were in `user` before"
    )
