"""A held run changed nothing: by the destination's own catalogue, for every preset."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from alerts.fake_alert_servers import slack
from behaviour.feed import FEED
from millstream import destinations
from millstream.common import atomic_write
from millstream.config import DestinationConfig, DltConfig, PipelineConfig
from millstream.errors import ConfigError, RunError, SchemaHeldError
from millstream.model import RunReport
from millstream.runs import load_packages, pending_decisions, runner
from millstream.schema_changes import accepted_file, held_packages, history
from services.places import NAME, Place

FIRST = [{"id": 1, "changed": 1, "buyer": "ann", "n": 1}]
SAFE = [{"id": 2, "changed": 2, "buyer": "bob", "n": 2, "note": "new", "lines": [{"sku": "a"}]}]
RISKY = [{"id": 2, "changed": 2, "buyer": "bob", "n": "two"}]
BREAKING = [{"id": 2, "changed": 2, "buyer": {"login": "bob"}, "n": 2}]


@pytest.fixture(autouse=True)
def feed() -> Iterator[None]:
    FEED.reset()
    yield
    FEED.reset()


@pytest.fixture
def merging(place: Place) -> Place:
    if not place.merges:
        pytest.skip(f"{place.kind}: has no catalogue to ask")
    return place


def configured(place: Place, policy: Any = "evolve", **more: Any) -> PipelineConfig:
    folder = place.project / "defs"
    folder.mkdir(exist_ok=True)
    return PipelineConfig(
        name=NAME,
        source=DltConfig(path="behaviour.feed:since"),
        destination=place.destination,
        project=place.project,
        folder=folder,
        schema_policy=policy,
        **more,
    )


def load(config: PipelineConfig, rows: list[dict[str, Any]], **more: Any) -> RunReport:
    FEED.rows = rows
    return runner.run(config, "orders", **more)


def waiting(config: PipelineConfig) -> list[held_packages.Held]:
    return pending_decisions.waiting(config, "orders")


def accept(config: PipelineConfig, found: held_packages.Held, only: Collection[str] = ()) -> None:
    held_packages.accept(found, destinations.accepted_store(config), only)


def catalogue(place: Place) -> dict[str, Any]:
    """Tables, columns and rows, as the destination itself says."""
    if place.kind == "bigquery":
        where = place.from_clause("INFORMATION_SCHEMA.COLUMNS").replace("`", "`")
        where = where.replace(".INFORMATION_SCHEMA", "`.INFORMATION_SCHEMA").rstrip("`")
        found = place.query(f"SELECT table_name, column_name FROM {where}")
    else:
        found = place.query(
            "SELECT table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema = '{place.dataset}'"
        )
    columns = sorted((str(row[0]), str(row[1])) for row in found)
    tables = sorted({table for table, _ in columns if "staging" not in table})
    return {"columns": columns, "rows": {table: place.count(table) for table in tables}}


@pytest.mark.nightly_on("bigquery", "postgres")
@pytest.mark.parametrize(
    ("policy", "rows", "goes_on"),
    [
        ("evolve", BREAKING, False),
        *(
            pytest.param(*case, marks=pytest.mark.nightly_on("bigquery"))
            for case in (
                ("evolve", SAFE, True),
                ("evolve", RISKY, True),
                ("strict", [{"id": 2, "changed": 2, "buyer": "bob", "n": 2}], True),
                ("strict", SAFE, False),
                ("strict", RISKY, False),
                ("strict", BREAKING, False),
                ("anything", BREAKING, True),
            )
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_preset(merging: Place, policy: str, rows: Any, goes_on: bool) -> None:
    config = configured(merging, policy)
    load(config, FIRST)
    before, file = catalogue(merging), (config.folder / "schema.yaml").read_text()  # type: ignore[operator]
    assert ("orders", "buyer") in before["columns"]
    if goes_on:
        report = load(config, rows)
        assert report.rows == 1
        assert {decision.action for decision in report.decisions} <= {"allow", "warn"}
        assert waiting(config) == []
        return
    with pytest.raises(SchemaHeldError) as caught:
        load(config, rows)
    assert catalogue(merging) == before, "no DDL, no rows, no state, no history"
    assert (config.folder / "schema.yaml").read_text() == file  # type: ignore[operator]
    assert "hold" in {decision.action for decision in caught.value.decisions}
    assert caught.value.rows["orders"] == 1


@pytest.mark.nightly_on("bigquery")
@pytest.mark.parametrize("where", ["file", "destination"])
@pytest.mark.nightly_on("postgres")
def test_held_until_accepted_then_the_next_run_goes_on(merging: Place, where: str) -> None:
    config = configured(merging, accepted_schema=where)
    load(config, FIRST)
    before = catalogue(merging)
    for _ in range(2):
        with pytest.raises(SchemaHeldError, match="`buyer` was text, now it is also an object"):
            load(config, BREAKING)
        assert catalogue(merging) == before
    assert FEED.asked == 2, "while a package waits, the source is not asked again"
    assert FEED.cursor == 1, "the cursor did not move"  # type: ignore[attr-defined]

    (found,) = waiting(config)
    assert found.rows == {"orders": 1}
    assert [change["action"] for change in found.changes] == ["allow", "hold"]
    accept(config, found)
    accepted_store = destinations.accepted_store(config)
    assert accepted_store is not None
    assert "buyer__login" in accepted_store.load()["orders"].table["orders"].column
    assert (config.folder / "schema.yaml").exists() is (where == "file")  # type: ignore[operator]
    if where == "destination":
        assert accepted_store.where.startswith("_millstream_accepted_schemas in ")
        changed = catalogue(merging)
        assert changed["rows"].pop("_millstream_accepted_schemas") == 2, "the first run's, and this"
        assert before["rows"].pop("_millstream_accepted_schemas") == 1
        for each in (changed["rows"], before["rows"]):
            for own in ("_dlt_loads", "_dlt_version"):
                each.pop(own)
        assert changed == before

    report = load(config, [{"id": 3, "changed": 3, "buyer": {"login": "cid"}, "n": 3}])
    assert report.tables[0].rows == 2, "the package that waited, and this run's"
    assert merging.column("orders", "id") == [1, 2, 3]
    assert merging.column("orders", "buyer__login") == [None, "bob", "cid"]
    assert merging.column("orders", "buyer") == ["ann", None, None]
    assert {change.kind for change in report.changes} == {"column_added", "became_object"}
    assert waiting(config) == []
    assert FEED.cursor == 2  # type: ignore[attr-defined]


def test_acceptance_by_a_commit_on_another_machine(duckdb_place: Place) -> None:
    """Held on one machine, accepted by pull request, loaded on another."""
    config = configured(duckdb_place)
    load(config, FIRST)
    with pytest.raises(SchemaHeldError):
        load(config, BREAKING)
    (found,) = waiting(config)
    accepted_file.save(config.folder, "orders", found.schema)  # type: ignore[arg-type]
    shutil.rmtree(found.folder)
    assert load(config, BREAKING).rows == 1
    assert duckdb_place.column("orders", "buyer__login") == [None, "bob"]


def test_accepting_one_change_of_two_still_holds_the_other(duckdb_place: Place) -> None:
    config = configured(duckdb_place, "strict")
    load(config, FIRST)
    both = [{**BREAKING[0], "buyer": "bob", "note": "x", "other": 1}]
    with pytest.raises(SchemaHeldError):
        load(config, both)
    (found,) = waiting(config)
    ids = {change["column"]: change["id"] for change in found.changes}
    accept(config, found, only={ids["note"]})
    with pytest.raises(SchemaHeldError) as caught:
        load(config, both)
    assert [d.change.column for d in caught.value.decisions if d.action == "hold"] == ["other"]
    columns = accepted_file.load(config.folder)["orders"].table["orders"].column  # type: ignore[arg-type]
    assert "note" in columns
    assert "other" not in columns


def test_a_package_goes_nowhere_else(duckdb_place: Place) -> None:
    """Two projects, or production and a trial, with one pipeline name on one machine."""
    here = configured(duckdb_place)
    elsewhere = {**duckdb_place.destination, "database": "other.duckdb"}
    there = here.model_copy(
        update={"destination": DestinationConfig(**elsewhere), "folder": duckdb_place.project}
    )
    load(there, FIRST)
    load(here, FIRST)
    with pytest.raises(SchemaHeldError):
        load(here, BREAKING)
    assert waiting(there) == []
    assert load(there, SAFE).rows == 1, "its own"
    accept(here, waiting(here)[0])
    assert load(here, []).rows == 1
    assert duckdb_place.column("orders", "buyer__login") == [None, "bob"]


class Killed(BaseException):
    """What a signal looks like from within: nothing that a run could catch."""


def test_killed_while_it_is_held_and_while_it_is_accepted(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are appended, so that one loaded twice would be there twice."""
    config = configured(duckdb_place).model_copy(
        update={
            "source": DltConfig(
                path="behaviour.feed:orders", arguments={"write_disposition": "append"}
            )
        }
    )
    load(config, FIRST)
    before = catalogue(duckdb_place)

    def die(*_: Any) -> None:
        raise Killed

    FEED.rows = BREAKING
    write = atomic_write.write
    for file in ("held.yaml", "held.json"):
        with monkeypatch.context() as patch:
            patch.setattr(
                atomic_write,
                "write",
                lambda path, text, file=file: die() if path.name == file else write(path, text),
            )
            with pytest.raises(Killed):
                runner.run(config, "orders")
        assert waiting(config) == [], "not half of it"
    asked = FEED.asked
    with pytest.raises(SchemaHeldError):
        load(config, [])
    assert FEED.asked == asked
    assert catalogue(duckdb_place) == before

    with monkeypatch.context() as patch:
        patch.setattr(held_packages, "approve", die)
        with pytest.raises(Killed):
            accept(config, waiting(config)[0])
    with monkeypatch.context() as patch:
        patch.setattr(load_packages, "forget", die)  # loaded, and not yet told so
        with pytest.raises(Killed):
            runner.run(config, "orders")
    load(config, [])
    assert duckdb_place.column("orders", "id") == [1, 2]
    assert waiting(config) == []


def test_a_looser_policy_lets_the_package_go(duckdb_place: Place) -> None:
    load(configured(duckdb_place), FIRST)
    with pytest.raises(SchemaHeldError):
        load(configured(duckdb_place), BREAKING)
    load(configured(duckdb_place, "anything"), [])
    assert duckdb_place.column("orders", "id") == [1, 2]


def test_a_full_refresh_drops_what_waits(duckdb_place: Place) -> None:
    config = configured(duckdb_place)
    load(config, FIRST)
    with pytest.raises(SchemaHeldError):
        load(config, BREAKING)
    load(config, SAFE, full_refresh=True)
    assert duckdb_place.column("orders", "id") == [2]
    assert waiting(config) == []


def test_a_held_full_refresh_deletes_nothing(
    duckdb_place: Place,
) -> None:
    config = configured(duckdb_place)
    load(config, FIRST)
    before = catalogue(duckdb_place)
    with pytest.raises(SchemaHeldError):
        load(config, BREAKING, full_refresh=True)
    assert catalogue(duckdb_place) == before
    assert duckdb_place.column("orders", "id") == [1]
    accept(config, waiting(config)[0])
    load(config, [])
    assert duckdb_place.column("orders", "id") == [2], "the refresh that waited"
    load(config, [{"id": 3, "changed": 3, "buyer": {"login": "cid"}, "n": 3}])
    assert duckdb_place.column("orders", "id") == [2, 3]


def test_the_policy_of_the_day_decides_what_waits(duckdb_place: Place) -> None:
    """Stricter, looser, or with a rule that comes too late for rows that are normalized."""
    load(configured(duckdb_place), FIRST)
    with pytest.raises(SchemaHeldError):
        load(configured(duckdb_place), BREAKING)
    late = configured(duckdb_place, {"rules": [{"action": "quarantine", "change": "breaking"}]})
    with pytest.raises(SchemaHeldError) as caught:
        load(late, [])
    assert {(d.action, d.reason) for d in caught.value.decisions} >= {("hold", "rule 1")}
    with pytest.raises(SchemaHeldError):
        load(configured(duckdb_place, "strict"), [])
    assert duckdb_place.column("orders", "id") == [1]
    # what the strict policy held besides is accepted with it
    accept(configured(duckdb_place, "strict"), waiting(late)[0])
    load(configured(duckdb_place, "strict"), [])
    assert duckdb_place.column("orders", "id") == [1, 2]


def test_what_was_accepted_ahead_is_no_news(duckdb_place: Place) -> None:
    config = configured(duckdb_place, "strict")
    load(config, FIRST)
    path = config.folder / "schema.yaml"  # type: ignore[operator]
    path.write_text(
        path.read_text().replace("        buyer: text", "        note: text\n        buyer: text")
    )
    assert load(config, FIRST).decisions == (), "and not arriving yet is no change either"
    report = load(config, [{"id": 2, "changed": 2, "buyer": "bob", "n": 2, "note": "new"}])
    assert [change.kind for change in report.changes] == ["column_added"]
    assert report.decisions == ()


def test_a_broken_file_fails_before_the_source_is_asked(duckdb_place: Place) -> None:
    config = configured(duckdb_place)
    (config.folder / "schema.yaml").write_text("version: 1\n")  # type: ignore[operator]
    with pytest.raises(ConfigError, match=r"schema\.yaml:1"):
        load(config, FIRST)
    assert FEED.asked == 0


def test_a_read_only_project_loads_and_says_so(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = atomic_write.write

    def refuse(path: Path, content: str) -> None:
        if path.name == "schema.yaml":
            raise OSError(30, "Read-only file system")
        write(path, content)

    monkeypatch.setattr(atomic_write, "write", refuse)  # root may write anywhere
    report = load(configured(duckdb_place), FIRST)
    assert report.rows == 1
    assert "Read-only file system" in report.warnings[0]


def test_the_history_tells_what_was_decided(duckdb_place: Place) -> None:
    config = configured(duckdb_place)
    load(config, FIRST)
    load(config, RISKY)
    with pytest.raises(SchemaHeldError):
        load(config, [{**BREAKING[0], "changed": 3}])
    accept(config, waiting(config)[0])
    load(config, [])
    told = history.changes(history.Place(destinations.build(config), config.dataset), NAME)
    assert [(row["kind"], row["action"], row["reason"]) for row in told] == [
        ("table_added", "allow", "first run"),
        ("variant_added", "warn", "preset evolve: risky"),
        ("column_added", "allow", "accepted"),
        ("became_object", "allow", "accepted"),
    ]


@pytest.mark.parametrize("trouble", ["held again", "the source is gone"])
def test_a_recovered_package_is_recorded_if_the_run_fails(
    duckdb_place: Place, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack() as office:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", office.url)
        config = configured(
            duckdb_place,
            {"rules": [{"action": "hold", "column": "note"}]},
            alerts=[{"type": "slack", "at_least": "risky"}],
        )
        load(config, FIRST)
        with pytest.raises(SchemaHeldError):
            load(config, [{**RISKY[0], "note": "new"}])
        (found,) = waiting(config)
        accept(config, found, only={c["id"] for c in found.changes if c["column"] == "note"})
        if trouble == "held again":
            with pytest.raises(SchemaHeldError):
                load(config, [{**BREAKING[0], "id": 3, "changed": 3}])
        else:
            monkeypatch.setattr(FEED, "error", OSError("gone"))
            with pytest.raises(RunError, match="extract failed"):
                load(config, [])
        assert duckdb_place.column("orders", "id") == [1, 2], "what waited is in"
        said = [payload["text"] for payload in office.taken]
    told = history.changes(history.Place(destinations.build(config), config.dataset), NAME)
    assert [(row["kind"], row["reason"]) for row in told[1:]] == [
        ("variant_added", "accepted"),
        ("column_added", "accepted"),
    ]
    loads = history.loads(history.Place(destinations.build(config), config.dataset), NAME)
    assert [each.rows for each in loads] == [1, 1]
    first = "shop.orders: held: 2 schema changes, risky"
    again = ["shop.orders: held: 1 schema change, breaking"] if trouble == "held again" else []
    assert said == [first, *again], "what was accepted is told no more"


def test_a_history_that_can_not_be_written_fails_no_load(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(history, "_append", refuse)
    report = load(configured(duckdb_place), FIRST)
    assert report.rows == 1
    assert "disk full" in report.warnings[-1]


def test_no_history_where_none_is_wanted(duckdb_place: Place) -> None:
    load(configured(duckdb_place, history=False), FIRST)
    assert not [t for t in catalogue(duckdb_place)["rows"] if t.startswith("_millstream")]


def test_whoever_is_named_is_told_once(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack() as office:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", office.url)
        config = configured(duckdb_place, alerts=[{"type": "slack", "at_least": "risky"}])
        assert load(config, FIRST).warnings == ()
        load(config, RISKY)
        for _ in range(2):
            with pytest.raises(SchemaHeldError):
                load(config, [{**BREAKING[0], "changed": 3}])
        assert [payload["text"] for payload in office.taken] == [
            "shop.orders: loaded: 1 schema change, risky",
            "shop.orders: held: 1 schema change, breaking",
        ]
        office.answers = [(404, {}, "no_service")]
        accept(config, waiting(config)[0])
        report = load(config, [{"id": 4, "changed": 4, "buyer": {"login": "x"}, "n": 1.5}])
        assert report.rows >= 1
        assert report.warnings == (
            "loaded first what an earlier run had extracted",
            "alert 1 (slack) was not sent: 127.0.0.1 said 404 no_service",
        )


def test_a_field_that_stops_arriving_is_noticed(
    duckdb_place: Place,
) -> None:
    config = configured(duckdb_place)
    rows = [{"id": n, "changed": n, "buyer": "ann", "note": f"note {n}"} for n in range(1, 101)]
    load(config, rows)
    without = [{"id": n, "changed": n, "buyer": "ann"} for n in range(101, 201)]
    report = load(config, without)
    assert [(d.change.kind, d.change.column, d.action) for d in report.decisions] == [
        ("column_gone", "note", "warn")
    ]
    assert report.changes == (report.decisions[0].change,)
    again = [{**row, "id": row["id"] + 100, "changed": row["changed"] + 100} for row in without]
    assert load(config, again).decisions == (), "told once"
    further = [{**row, "id": row["id"] + 200, "changed": row["changed"] + 200} for row in without]
    assert load(config, further).decisions == ()
    back = [{**row, "id": row["id"] + 400, "changed": row["changed"] + 400} for row in rows]
    told = load(config, back).decisions
    assert [(d.change.kind, d.change.column) for d in told] == [("presence_changed", "note")]


def test_what_only_the_data_tells_is_accepted_for_good(duckdb_place: Place) -> None:
    config = configured(
        duckdb_place, {"rules": [{"action": "hold", "change": ["column_gone", "presence_changed"]}]}
    )

    def rows(first: int, *names: str) -> list[dict[str, Any]]:
        values = {name: f"{name} {first}" for name in names}
        return [{"id": n, "changed": n, "at": {**values}} for n in range(first, first + 100)]

    load(config, rows(1, "town", "street", "zip"))
    load(config, rows(101, "town", "street", "zip"))
    with pytest.raises(SchemaHeldError, match="`at__street` no longer arrives"):
        load(config, rows(201, "town", "zip"))
    accept(config, waiting(config)[0])
    # the package that waited, then this run's own, which is as that one was
    report = load(config, rows(301, "town", "zip"))
    assert report.rows == 200
    assert {d.reason for d in report.decisions} == {"accepted"}
    assert load(config, rows(401, "town", "zip")).decisions == ()
    with pytest.raises(SchemaHeldError, match="`at__zip` no longer arrives"):
        load(config, rows(501, "town"))


def test_a_likely_rename_is_held(duckdb_place: Place) -> None:
    config = configured(duckdb_place)
    names = [f"customer {n}" for n in range(100)]
    load(config, [{"id": n, "changed": n + 1, "buyer": name} for n, name in enumerate(names)])
    with pytest.raises(SchemaHeldError, match="`buyer` is gone and `purchaser` came"):
        load(
            config,
            [{"id": n, "changed": n + 200, "purchaser": name} for n, name in enumerate(names)],
        )
