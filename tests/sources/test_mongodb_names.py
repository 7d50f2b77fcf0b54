"""Streams and tables by name alone; what was discovered, kept in a file; nothing imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from millstream import sources
from millstream.config import MongoDBConfig, parse_pipeline
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.sources import table_names
from millstream.sources.mongodb import MongoDBSource, discovery
from millstream.sources.mongodb.discovery import Catalog, Collection
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

CATALOG = Catalog(
    {
        "shop": (
            Collection("orders", documents=3, fields={"a.b[]": {"int": 0.5, "string": 0.5}}),
            Collection("orders.archive"),
            Collection("recent", kind="view"),
        ),
        "crm": (Collection("orders"), Collection("users")),
    }
)


def streams(catalog: Catalog | None, folder: Path, **config: Any) -> list[str]:
    if catalog is not None:
        discovery.save(catalog, folder)
    return [each.name for each in MongoDBSource(MongoDBConfig(**config), folder=folder).streams()]


def test_explicit_names_need_no_catalog(tmp_path: Path) -> None:
    assert streams(None, tmp_path, collections=["b", "a.x", "b"]) == ["b", "a.x"]
    both = ["shop", "crm"]
    assert streams(None, tmp_path, databases=both, collections=["crm.a.b"]) == ["crm.a.b"]
    with pytest.raises(ConfigError, match="which of the databases shop, crm"):
        streams(None, tmp_path, databases=both, collections=["orders"])


def test_patterns_come_from_the_catalog(tmp_path: Path) -> None:
    assert streams(CATALOG, tmp_path, databases=["shop"]) == ["orders", "orders.archive", "recent"]
    some = streams(CATALOG, tmp_path, databases=["shop"], collections=["orders*"])
    assert some == ["orders", "orders.archive"]
    both = streams(CATALOG, tmp_path, databases=["shop", "crm"], collections=["*.orders"])
    assert both == ["shop.orders", "crm.orders"]


def test_patterns_without_a_catalog_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="millstream discover"):
        streams(None, tmp_path, databases=["shop"])


def test_views_have_no_primary_key(tmp_path: Path) -> None:
    discovery.save(CATALOG, tmp_path)
    attributes = {"name": "shop", "source": {"type": "mongodb", "databases": ["shop"]}}
    config = parse_pipeline(attributes, where="defs.yaml", project=tmp_path, folder=tmp_path)
    source = sources.of_pipeline(config)
    keys = {each.name: each.primary_key for each in source.streams()}
    assert keys == {"orders": ("_id",), "orders.archive": ("_id",), "recent": ()}


def test_the_catalog_survives_its_file(tmp_path: Path) -> None:
    path = discovery.save(CATALOG, tmp_path)
    found = discovery.load(tmp_path)
    assert found is not None
    assert {k: tuple(v) for k, v in found.content.items()} == dict(CATALOG.content)
    path.write_text("databases: [1, 2]")
    with pytest.raises(ConfigError, match="not a catalog"):
        discovery.load(tmp_path)
    path.write_text("databases:\n  shop: {}\n  shop: {}\n")
    with pytest.raises(ConfigError, match=r"collections\.yaml:3: duplicate key `shop`"):
        discovery.load(tmp_path)


def test_settings_of_a_collection_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'orders'"):
        streams(None, tmp_path, collections=["orders"], settings={"order": {"cursor": "c"}})


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("orders", "orders"),
        ("userProfiles", "user_profiles"),
        ("fs.files", "fs_files"),
        # the child table of a list `items` in `orders` is orders__items
        ("orders__items", "orders_items"),
    ],
)
def test_tables_are_named_as_dlt_names_them(name: str, table: str) -> None:
    assert table_names.table_name(name, [name, "other"]) == table


def test_tables_never_collide() -> None:
    all_names = ["fs.files", "fs_files", "fsFiles", "FS.files", "fs__files", "fs", "files"]
    tables = {table_names.table_name(each, all_names) for each in all_names}
    assert len(tables) == len(all_names)
    assert table_names.table_name("fs_files", all_names) == "fs_files"
    assert not any("__" in table for table in tables)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"settings": {"a": {"projection": ["x"], "exclude": ["y"]}}}, "not both"),
        ({"settings": {"a": {"exclude": ["_id"]}}}, "primary key"),
        ({"settings": {"a": {"cursor": "c", "changes": True}}}, "either `cursor` or `changes`"),
        ({"collections": [" "]}, "is not a name"),
        ({"connection_url": "mongodb://u:p@h"}, "connection_url"),
        ({"deletes": "never"}, "deletes"),
    ],
)
def test_wrong_settings_are_told(source: dict[str, Any], said: str, tmp_path: Path) -> None:
    attributes = {"name": "shop", "source": {"type": "mongodb", **source}}
    with pytest.raises(ConfigError, match=said):
        parse_pipeline(attributes, where="defs.yaml", project=tmp_path)


def test_definitions_import_neither_dlt_nor_the_driver(tmp_path: Path) -> None:
    discovery.save(CATALOG, tmp_path)
    script = f"""
import pathlib, sys
from millstream import sources
from millstream.config import parse_pipeline
folder = pathlib.Path({str(tmp_path)!r})
attributes = {{"name": "x", "source": {{"type": "mongodb", "databases": ["shop", "crm"]}}}}
config = parse_pipeline(attributes, where="x", project=folder, folder=folder)
found = sources.of_pipeline(config).streams()
assert len(found) == 5, found
print([name for name in ("dlt", "pymongo", "bson", "dagster", "pyarrow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_assets_and_jobs_can_be_named_after_every_collection(tmp_path: Path) -> None:
    odd = ["fs.files", "fs_files", "fsFiles", "a__b", "a-b", "日本", "中国", "$x"]
    catalog = Catalog({"my-db": tuple(Collection(each) for each in odd)})
    discovery.save(catalog, tmp_path)
    source = MongoDBSource(MongoDBConfig(databases=("my-db",)), folder=tmp_path)
    places = [each.place for each in source.streams()]
    assert len(set(places)) == len(odd)
    assert {database for database, _ in places} == {"my_db"}
    assert {"fs_files", "fsFiles"} < {collection for _, collection in places}
    assert all(re.fullmatch(r"_?[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name) for _, name in places)


def test_lists_of_a_sample_are_known_by_their_keys() -> None:
    paths = ["_id.parts[].n", "a.b[][].c[]", "tags[]", "empty", r"x\.y[]"]
    collection = Collection("c", fields={path: {"int": 1.0} for path in paths})
    assert collection.lists == (
        ("_id_fields", "parts"),
        ("a", "b"),
        ("a", "b", "list"),
        ("a", "b", "list", "c"),
        ("tags",),
        ("x.y",),
    )


@pytest.mark.parametrize(
    ("settings", "lists"),
    [
        ({}, {"_id_fields.parts", "a.b", "a.b.list", "tags"}),
        ({"exclude": ["a"]}, {"_id_fields.parts", "tags"}),
        ({"exclude": ["a.b", "tag"]}, {"_id_fields.parts", "tags"}),
        ({"projection": ["tags"]}, {"_id_fields.parts", "tags"}),
        ({"projection": ["a.b.x"]}, {"_id_fields.parts", "a.b"}),
    ],
)
def test_lists_that_are_not_read_make_no_table(
    settings: dict[str, list[str]], lists: set[str], tmp_path: Path
) -> None:
    paths = ["_id.parts[]", "a.b[][]", "tags[]"]
    fields = {path: {"int": 1.0} for path in paths}
    discovery.save(Catalog({"d": (Collection("c", fields=fields),)}), tmp_path)
    config = MongoDBConfig.model_validate({"databases": ["d"], "settings": {"c": settings}})
    (stream,) = MongoDBSource(config, folder=tmp_path).streams()
    assert {".".join(keys) for keys in stream.lists} == lists


@pytest.mark.xdist_group("mongodb")
def test_one_stream_is_looked_at_again_and_the_others_stay(shop: Shop) -> None:
    shop.db.orders.insert_one({"a": [1]})
    shop.db.users.insert_one({"b": 1})
    source = MongoDBSource(shop.config().source, folder=shop.project)
    source.discover()
    shop.db.orders.insert_one({"c": [1]})
    shop.db.users.insert_one({"d": [1]})
    shop.db.late.insert_one({})
    source.discover(["orders"])
    assert {each.name: each.lists for each in source.streams()} == {
        "orders": (("a",), ("c",)),
        "users": (),
    }
    with pytest.raises(SourceNotFoundError, match="no such collection: nowhere"):
        source.discover(["nowhere"])


@pytest.mark.xdist_group("mongodb")
def test_only_what_is_configured_is_looked_into(shop: Shop) -> None:
    shop.db.orders.insert_one({"a": 1})
    shop.db.users.insert_one({"a": 1})
    MongoDBSource(shop.config(collections=["ord*"]).source, folder=shop.project).discover()
    found = discovery.load(shop.project)
    assert found is not None
    assert {each.name: bool(each.fields) for each in found.collections(shop.db.name)} == {
        "orders": True,
        "users": False,
    }


@pytest.mark.xdist_group("mongodb")
def test_discovery_finds_what_is_there_and_what_it_is_made_of(shop: Shop) -> None:
    shop.db.orders.insert_many([{"_id": 1, "a": {"b": [1, "x"]}}, {"_id": 2, "n": 2.5}])
    shop.db.command("create", "recent", viewOn="orders", pipeline=[])
    shop.db.create_collection("empty")
    source = MongoDBSource(shop.config().source, folder=shop.project)
    assert source.discover() == shop.project / "collections.yaml"
    found = discovery.load(shop.project)
    assert found is not None
    by_name = {each.name: each for each in found.collections(shop.db.name)}
    assert {name: each.kind for name, each in by_name.items()} == {
        "empty": "collection",
        "orders": "collection",
        "recent": "view",
    }
    assert by_name["orders"].documents == 2
    assert by_name["orders"].fields == {
        "_id": {"int": 1.0},
        "a": {"object": 0.5},
        "a.b": {"array": 0.5},
        "a.b[]": {"int": 0.5, "string": 0.5},
        "n": {"double": 0.5},
    }
    assert [each.name for each in source.streams()] == ["empty", "orders", "recent"]


@pytest.mark.nightly_on("postgres")
@pytest.mark.xdist_group("mongodb")
@pytest.mark.nightly
def test_every_name_that_mongodb_allows_loads(project: Project) -> None:
    """Long names, whose tables are shortened, and those of dlt's and Millstream's own tables."""
    shop = project
    long = "customer_order_line_item_fulfilment_status_history_archive_of_the_year_2023"
    all_names = [f"{long}_a", f"{long}_b", "_dlt_loads", "_millstream_changes", "data[2024]"]
    assert len(long) > 63
    for n, name in enumerate(all_names):
        shop.db[name].insert_one({"_id": n, "tags": [n, n]})
    shop.db.data2.insert_one({"_id": 99})
    shop.define(
        f"collections: {json.dumps(all_names)}\nsettings:\n  {long}_a: {{changes: true}}",
        name="a_pipeline_with_a_long_name_too",
    )
    assert "5 streams" in shop.command("discover")
    shop.run()
    shop.db[f"{long}_a"].insert_one({"_id": 7, "tags": [7, 7]})
    shop.run()
    found = {}
    for name, table in shop.place.query(
        "SELECT table_name, table_name FROM information_schema.tables "
        f"WHERE table_schema = '{shop.place.dataset}'"
    ):
        columns = shop.place.query(
            "SELECT column_name FROM information_schema.columns "
            f"WHERE table_schema = '{shop.place.dataset}' AND table_name = '{table}'"
        )
        if ("_id",) in columns:
            found[name] = shop.rows(table, "_id")
        elif ("_dlt_parent_id",) in columns:
            found[name] = shop.rows(table, "value")
    roots = [[(0,), (7,)], [(1,)], [(2,)], [(3,)], [(4,)]]
    lists = [sorted([*rows, *rows]) for rows in roots]
    assert sorted(found.values()) == sorted([*roots, *lists]), found


@pytest.mark.xdist_group("mongodb")
def test_a_name_that_matches_nothing_is_told(duckdb_project: Project) -> None:
    shop = duckdb_project
    shop.db.orders.insert_one({"_id": 1})
    shop.define("collections: [ordres]")
    assert "did you mean 'orders'?" in shop.command("discover", fails=True)
    shop.define('collections: ["ordes*"]')
    said = shop.command("discover", fails=True)
    assert "'ordes*' matches no collection" in said
    assert "did you mean 'orders'?" in said
    assert "matches no collection" in shop.run(fails=True)
    shop.db.ordes_of_may.insert_one({"_id": 1})
    assert "1 stream" in shop.command("discover")


def test_own_tables_are_nobody_elses() -> None:
    taken = ["_dlt_loads", "_DLT_version", "__dlt_x", "_millstream_changes", "_millstream_x"]
    tables = {table_names.table_name(each, taken) for each in taken}
    assert len(tables) == len(taken)
    assert not any(table.startswith("_") for table in tables)
    assert table_names.table_name("dlt_loads", [*taken, "dlt_loads"]) == "dlt_loads"
