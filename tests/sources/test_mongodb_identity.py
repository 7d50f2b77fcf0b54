"""State belongs to a collection, not to its name: another one under the name is read anew."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.sources.mongodb.state import ReadState
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")

SOURCE = """
collections: [by_cursor, by_change, emptied]
settings:
  by_cursor: {cursor: u}
  by_change: {changes: true}
  emptied: {changes: true}
"""


def fill(db: Any, who: str, first: int, u: int) -> None:
    for name in ("by_cursor", "by_change"):
        db[name].insert_many(
            [{"_id": first + n, "u": u, "who": who, "tags": [who, n]} for n in range(2)]
        )


def rows(shop: Project, table: str) -> list[Any]:
    """Each row, and how many rows of its list belong to it."""
    found = shop.rows(table, "_id", "who")
    tags = shop.place.query(
        f"SELECT count(*) FROM {shop.place.from_clause(table)} p "
        f"JOIN {shop.place.from_clause(f'{table}__tags')} c ON c._dlt_parent_id = p._dlt_id"
    )
    assert tags == [(2 * len(found),)]
    assert shop.place.count(f"{table}__tags") == 2 * len(found)
    return found


@pytest.mark.nightly_on("postgres")
@pytest.mark.nightly
def test_another_database_replaces_the_rows(project: Project) -> None:
    shop = project
    other = shop.db.client[shop.other]
    fill(shop.db, "staging", 0, 100)
    shop.db.emptied.insert_one({"_id": 1, "tags": [1]})
    fill(other, "prod", 10, 1)  # below the cursor
    other.create_collection("emptied")
    shop.define(SOURCE)
    shop.run()
    assert rows(shop, "by_cursor") == [(0, "staging"), (1, "staging")]
    shop.define(SOURCE, databases=(shop.other,))
    said = shop.run()
    for name in ("by_cursor", "by_change", "emptied"):
        assert f"warning: collection {name}: earlier runs read {shop.db.name}.{name}" in said
    for table in ("by_cursor", "by_change"):
        assert rows(shop, table) == [(10, "prod"), (11, "prod")]
    assert shop.place.count("emptied") == shop.place.count("emptied__tags") == 0
    # from here on as ever
    fill(other, "later", 20, 2)
    other.by_change.delete_one({"_id": 10})
    said = shop.run()
    assert "earlier runs read" not in said
    later = [(11, "prod"), (20, "later"), (21, "later")]
    assert rows(shop, "by_cursor") == [(10, "prod"), *later]
    assert rows(shop, "by_change") == later


@pytest.mark.nightly_on("postgres")
def test_another_collection_has_ids_of_another_type(project: Project) -> None:
    """Its rows replace all others, so that none of them has to wait for a full refresh."""
    shop = project
    names = ("by_cursor", "by_change", "in_full")
    how = "{by_cursor: {cursor: u}, by_change: {changes: true}}"
    shop.define(f"collections: [by_cursor, by_change, in_full]\nsettings: {how}")
    for name in names:
        shop.db[name].insert_many([{"_id": n, "u": n, "tags": [n]} for n in range(20)])
    shop.run()
    for name in names:
        shop.db[name].drop()
        shop.db[name].insert_many([{"_id": f"t{n}", "u": 0, "tags": [n, n]} for n in range(12)])
    for _ in range(2):
        assert "quarantine" not in shop.run()
        for name in names:
            assert sorted(shop.rows(name, "_id")) == sorted((f"t{n}",) for n in range(12))
            assert shop.place.count(f"{name}__tags") == 24
        shop.db.by_change.update_one({"_id": "t1"}, {"$set": {"u": 5}})


@pytest.mark.nightly
def test_a_collection_under_an_old_name_is_read_anew(project: Project) -> None:
    shop = project
    fill(shop.db, "first", 0, 100)
    shop.db.emptied.insert_one({"_id": 1})
    shop.define(SOURCE)
    shop.run()
    shop.db.by_change.drop()
    shop.db.emptied.drop()
    shop.db.create_collection("emptied")
    fill(shop.db.client[shop.other], "second", 10, 1)
    shop.db.by_change.insert_one({"_id": 5, "who": "second", "tags": [1, 2]})
    # what `$out` does: another collection takes over the name
    shop.db.client[shop.other].by_cursor.aggregate(
        [{"$out": {"db": shop.db.name, "coll": "by_cursor"}}]
    )
    said = shop.run()
    assert said.count("dropped and created again since the last run; reading all") >= 3
    assert rows(shop, "by_cursor") == [(10, "second"), (11, "second")]
    assert rows(shop, "by_change") == [(5, "second")]
    assert shop.place.count("emptied") == 0
    assert "dropped and created again" not in shop.run()


def test_a_collection_that_moves_away_and_back_is_the_same(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(5)])
    cursor = {"settings": {"things": {"cursor": "c"}}}
    shop.load("things", **cursor)
    shop.db.things.rename("elsewhere")
    shop.db.elsewhere.rename("things")
    assert shop.load("things", **cursor).rows == 1


def test_a_view_with_another_definition_is_read_anew(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(5)])
    cursor = {"settings": {"seen": {"cursor": "c"}}}
    for most in (5, 3):
        shop.db.drop_collection("seen")
        match = {"$match": {"c": {"$lt": most}}}
        shop.db.command("create", "seen", viewOn="things", pipeline=[match])
        assert shop.load("seen", **cursor).rows == most
        assert [n for (n,) in shop.rows("seen", "_id")] == list(range(most))


@pytest.mark.parametrize("how", [{"cursor": "c"}, {"changes": True}])
@pytest.mark.nightly
def test_state_without_an_identity_is_read_on_from(
    shop: Shop, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the version before left it: its state has neither a version nor an identity."""
    shop.db.things.insert_many([{"_id": n, "c": n} for n in range(5)])
    written = ReadState.to_json

    def before(state: ReadState) -> dict[str, Any]:
        found = written(state)
        del found["version"], found["identity"]
        return found

    monkeypatch.setattr(ReadState, "to_json", before)
    shop.load("things", settings={"things": how})
    monkeypatch.undo()
    monkeypatch.setenv("MONGODB_URI", shop.server.url())
    monkeypatch.setenv("MILLSTREAM_HOME", str(shop.project / "millstream-home"))
    monkeypatch.setenv("DLT_DATA_DIR", str(shop.project / "dlt-home"))
    shop.db.things.insert_one({"_id": 5, "c": 5})
    assert shop.load("things", settings={"things": how}).rows == (2 if "cursor" in how else 1)
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(6))
    shop.db.things.drop()
    shop.db.things.insert_one({"_id": 9, "c": 0})
    shop.load("things", settings={"things": how})
    assert [n for (n,) in shop.rows("things", "_id")] == [9]


def test_a_collection_replaced_while_it_is_read_loads_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millstream.errors import SourceError
    from millstream.sources.mongodb.loads import dispatch

    shop.db.things.insert_many([{"_id": n} for n in range(5)])
    read = dispatch.read_ranges

    def replaced(*arguments: Any, **named: Any) -> Any:
        yield from read(*arguments, **named)
        shop.db.things.drop()
        shop.db.things.insert_one({"_id": 9})

    monkeypatch.setattr(dispatch, "read_ranges", replaced)
    with pytest.raises(SourceError, match="replaced by another collection while it was read"):
        shop.load("things")
    monkeypatch.setattr(dispatch, "read_ranges", read)
    shop.load("things")
    assert shop.rows("things", "_id") == [(9,)]
