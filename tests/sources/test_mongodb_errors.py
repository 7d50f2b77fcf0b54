"""What goes wrong is told once, with the fix and without the password."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream import sources
from millstream.errors import (
    ConfigError,
    SourceAuthError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.sources.mongodb import discovery
from services import free_port, mongod
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")


def open_one(shop: Shop, stream: str = "things") -> None:
    sources.create(shop.config(collections=[stream]).source).open(stream)


@pytest.fixture(scope="module")
def guarded() -> Iterator[mongod.Mongod]:
    with mongod.running(auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def encrypted() -> Iterator[mongod.Mongod]:
    with mongod.running(replica_set=False, tls=True) as server:
        yield server


WITHOUT_DRIVER = """
import sys
sys.modules.update({"bson": None, "pymongo": None})
from millstream import sources
from millstream.config import MongoDBConfig
source = sources.create(MongoDBConfig(databases=["shop"], collections=["things"]))
(check,) = source.check()
print(check.ok, check.detail, check.hint, sep="|")
try:
    source.open("things")
except Exception as error:
    print(False, error.message, error.hint, sep="|")
"""


def test_the_driver_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True)
    said = "False|MongoDB needs the package pymongo|pip install 'millstream[mongodb]'"
    assert done.stdout.splitlines() == [said, said], done.stderr


def test_no_connection_string(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI")
    with pytest.raises(SourceAuthError, match="no MongoDB connection string") as caught:
        open_one(shop)
    assert "MONGODB_URI=" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://u:hunter2@h/", "mongodb://u:hunter2@h:a/", "mongodb://u@:hunter2@/"]
)
def test_a_connection_string_that_is_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MONGODB_URI", url)
    with pytest.raises(ConfigError, match="can't be read") as caught:
        open_one(shop)
    assert "hunter2" not in str(caught.value)


def test_nobody_answers(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"mongodb://me:hunter2@127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    monkeypatch.setenv("MONGODB_URI", url)
    with pytest.raises(SourceUnavailableError, match="can't be reached") as caught:
        open_one(shop)
    assert "is it running" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    (check,) = sources.create(shop.config(collections=["things"]).source).check()
    assert not check.ok
    assert check.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb+srv://me:hunter2@cluster.nowhere.invalid/", "_mongodb._tcp.cluster"),
        ("mongodb://me:hunter2@nowhere.invalid/?serverSelectionTimeoutMS=200", "nowhere.invalid"),
    ],
)
def test_a_name_that_dns_does_not_know(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("MONGODB_URI", url)
    with pytest.raises(SourceUnavailableError, match="can't be found") as caught:
        open_one(shop)
    assert said in str(caught.value)
    assert "this machine's DNS" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_string_that_ends_in_admin_names_no_data(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.db.things.insert_one({"_id": 1})
    monkeypatch.setenv("MONGODB_URI", shop.server.url("admin"))
    assert shop.load("things").rows == 1
    with pytest.raises(ConfigError, match="in which database") as caught:
        sources.create(shop.config(databases=[], collections=["things"]).source).open("things")
    assert "/admin only says where the user is kept" in str(caught.value)


def test_no_such_collection_or_database(shop: Shop) -> None:
    shop.db.things.insert_one({})
    with pytest.raises(SourceNotFoundError, match="no such collection") as caught:
        open_one(shop, "thing")
    assert "did you mean 'things'?" in str(caught.value)
    name, client = shop.db.name, shop.db.client
    client.drop_database(name)
    client["inventory"].things.insert_one({})
    with pytest.raises(SourceNotFoundError, match="no such database") as caught:
        open_one(shop)
    assert "inventory" in str(caught.value.hint)
    assert "admin" not in str(caught.value.hint)
    with pytest.raises(SourceNotFoundError, match="no such database") as discovered:
        discovery.discover(shop.config(databases=["inventori"]).source)
    assert discovered.value.hint == "did you mean 'inventory'?"
    client.drop_database("inventory")


def test_diff_goes_on_where_a_collection_is_gone(duckdb_project: Project) -> None:
    """As a run does: what is known of the others is said."""
    db = duckdb_project.db
    db.things.insert_one({"n": 1})
    db.others.insert_one({"n": 1})
    duckdb_project.define("")
    duckdb_project.command("discover")
    db.things.drop()
    said = duckdb_project.command("schema", "diff", fails=True)
    assert f"things failed: no such collection: {db.name}.things" in said
    assert "if it is named there, and run `millstream discover`" in said
    assert "shop.others: 1 change\n" in said
    assert "things  gone" in duckdb_project.command("discover")
    assert "things" not in duckdb_project.command("schema", "diff")

    db.more.insert_one({"n": 1})
    duckdb_project.command("discover")
    db.command({"collMod": "others", "changeStreamPreAndPostImages": {"enabled": True}})
    duckdb_project.define("changes: true\ndeletes: soft")
    said = duckdb_project.command("schema", "diff", fails=True)
    assert "more failed: collection more: `deletes: soft` keeps" in said
    assert "shop.others: 1 change\n" in said


def test_no_database_is_named(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="in which database"):
        sources.create(shop.config(databases=[], collections=["things"]).source).open("things")


def test_doctor_checks_each_collection(shop: Shop) -> None:
    shop.db.things.insert_one({})
    config = shop.config(collections=["things", "gone"])
    checks = {each.name: each.ok for each in sources.create(config.source).check()}
    assert checks == {"MongoDB": True, "things": True, "gone": False}


def test_a_password_is_asked_for_and_never_shown(
    guarded: mongod.Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded.client() as client:
        shop = Shop(guarded, client.app, tmp_path)
        shop.db.things.insert_one({"_id": 1})
        monkeypatch.setenv("MONGODB_URI", guarded.url(credentials="millstream:hunter2@"))
        with pytest.raises(SourceAuthError, match="refuses the user name or password") as caught:
            open_one(shop)
        assert "hunter2" not in str(caught.value)
        monkeypatch.setenv(
            "MONGODB_URI", guarded.url(credentials="").replace("&authSource=admin", "")
        )
        with pytest.raises(SourceAuthError, match="not allowed to read"):
            open_one(shop)
        monkeypatch.setenv("MONGODB_URI", guarded.url())
        shop.load("things")
        assert shop.rows("things", "_id") == [(1,)]


def test_one_collection_of_many_may_not_be_read(
    guarded: mongod.Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded.client() as client:
        shop = Shop(guarded, client.some, tmp_path)
        for name in ("open", "closed"):
            shop.db[name].insert_one({"_id": 1})
        what = {"resource": {"db": "some", "collection": "open"}, "actions": ["find"]}
        client.some.command("createRole", "half", privileges=[what], roles=[])
        client.some.command("createUser", "half", pwd="hunter2", roles=["half"])
        url = guarded.url(credentials="half:hunter2@").replace(
            "authSource=admin", "authSource=some"
        )
        monkeypatch.setenv("MONGODB_URI", url)
        shop.settings = {"collections": ["open", "closed"]}
        with pytest.raises(SourceAuthError, match="collection closed: not allowed") as caught:
            shop.load("closed", **shop.settings)
        assert "role `read`" in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert shop.load("open", **shop.settings).rows == 1
        source = sources.create(shop.config().source)
        assert [each.ok for each in source.check()] == [True, True, False]


def test_tls(encrypted: mongod.Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with encrypted.client() as client:
        shop = Shop(encrypted, client.app, tmp_path)
        shop.db.things.insert_one({"_id": 1})
        monkeypatch.setenv("MONGODB_URI", encrypted.url())
        shop.load("things")  # on a server without a replica set, too
        assert shop.rows("things", "_id") == [(1,)]
        strange = f"mongodb://127.0.0.1:{encrypted.port}/?tls=true&serverSelectionTimeoutMS=500"
        monkeypatch.setenv("MONGODB_URI", strange)
        with pytest.raises(SourceUnavailableError, match="TLS connection failed") as caught:
            open_one(shop)
        assert "tlsCAFile" in str(caught.value)


def test_change_streams_need_a_replica_set(
    encrypted: mongod.Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with encrypted.client() as client:
        shop = Shop(encrypted, client.app, tmp_path)
        shop.db.things.insert_one({"_id": 2})
        monkeypatch.setenv("MONGODB_URI", encrypted.url())
        with pytest.raises(SourceError, match="need a replica set"):
            shop.load("things", changes=True)


def text_among_numbers(shop: Shop) -> dict[str, dict[str, str]]:
    settings = {"things": {"cursor": "c"}}
    shop.db.things.insert_one({"_id": 1, "c": 1})
    shop.load("things", settings=settings)
    shop.db.things.insert_one({"_id": 2, "c": 2})
    shop.load("things", settings=settings)  # merged: through the staging dataset
    shop.db.things.insert_one({"_id": "one", "c": 2})
    report = shop.load("things", settings=settings)
    assert [(each.rows, each.table) for each in report.quarantined] == [(1, "things")]
    assert "_id" in report.quarantined[0].detail
    assert shop.rows("things", "_id") == [(1,), (2,)]
    return settings


def load_all_anew(shop: Shop, settings: dict[str, dict[str, str]]) -> None:
    shop.load("things", settings=settings, full_refresh=True)
    assert shop.columns("things")["_id"] == "VARCHAR"
    numbers = [('{"$numberInt":"1"}',), ('{"$numberInt":"2"}',)]
    assert shop.rows("things", "_id") == [("one",), *numbers]
    # through the staging dataset again, whose table had numbers
    shop.db.things.insert_one({"_id": "two", "c": 3})
    shop.load("things", settings=settings)
    assert shop.rows("things", "_id") == [("one",), ("two",), *numbers]


def test_an_id_that_no_longer_fits_its_column(shop: Shop) -> None:
    load_all_anew(shop, text_among_numbers(shop))


@pytest.mark.nightly
def test_its_table_is_made_anew_once_it_is_dropped(shop: Shop) -> None:
    settings = text_among_numbers(shop)
    shop.query("DROP TABLE shop.things")
    shop.query("DELETE FROM shop._dlt_version WHERE schema_name = 'shop__things'")
    load_all_anew(shop, settings)
