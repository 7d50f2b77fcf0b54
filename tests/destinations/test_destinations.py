import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

import dlt
import duckdb
import pyarrow as pa
import pytest

from millstream import destinations
from millstream.common.redact import redact_foreign
from millstream.config import TargetConfig
from millstream.destinations import driver_errors, duckdb_bulk, factory
from millstream.destinations.duckdb_file import duckdb_catalog
from millstream.errors import (
    ConfigError,
    DestinationError,
    DestinationUnavailableError,
    MissingDependencyError,
)


def target(kind: str = "duckdb", name: str = "shop", project: Path | None = None, **more):
    return TargetConfig(
        name=name, destination={"type": kind, **more}, project=project or Path("/project")
    )


def test_names_need_no_dlt():
    code = """
import sys
from millstream import destinations
from millstream.config import TargetConfig
config = TargetConfig(name="shop", destination={"type": "bigquery"})
assert destinations.table_name(config, "orders__items") == "shop.orders__items"
assert destinations.storage_kind(config) == "bigquery"
destinations.loader_file_format(config)
assert not {"dlt", "dagster", "google"} & set(sys.modules)
"""
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("kind", "more", "name"),
    [
        ("duckdb", {}, "shop_db.shop.orders"),
        ("duckdb", {"database": "data/all.v2.duckdb"}, "all.shop.orders"),
        ("duckdb", {"dataset": "raw"}, "shop_db.raw.orders"),
        ("postgres", {}, "shop.orders"),
        ("bigquery", {"options": {"project_id": "acme"}}, "acme.shop.orders"),
        ("bigquery", {}, "shop.orders"),
        ("snowflake", {}, "SHOP.ORDERS"),
        ("filesystem", {}, "shop/orders"),
        ("filesystem", {"options": {"bucket_url": "s3://lake/raw/"}}, "s3://lake/raw/shop/orders"),
        ("filesystem", {"options": {"bucket_url": "lake"}}, "/project/lake/shop/orders"),
        ("filesystem", {"options": {"bucket_url": "file:///lake"}}, "/lake/shop/orders"),
    ],
)
def test_full_names_before_the_first_run(kind, more, name):
    assert destinations.table_name(target(kind, **more), "orders") == name


@pytest.mark.parametrize(
    "table", ["Orders", "my orders", "orders__line__items", "x" * 80, "a__B-c"]
)
@pytest.mark.parametrize("dataset", ["shop", "My-Shop", "a__b"])
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_names_are_those_that_dlt_makes(kind, dataset, table, tmp_path):
    config = target(kind, dataset=dataset, project=tmp_path)
    destination = destinations.build(config, "postgresql://u:p@h/d" if kind == "postgres" else None)
    pipeline = dlt.pipeline(
        "p", pipelines_dir=str(tmp_path), destination=destination, dataset_name=dataset
    )
    pipeline.extract([{"id": 1}], table_name=table)
    pipeline.normalize()
    [made] = [t["name"] for t in pipeline.default_schema.data_tables()]
    known = destinations.table_name(config, table)
    assert destinations.full_names(pipeline, config, [made])[made].endswith(known)
    assert known.endswith(f".{made}")


@pytest.mark.parametrize(
    "file",
    [
        "a.b.duckdb",
        "my-db.duckdb",
        "9x.db",
        "plain",
        "Caps.duckdb",
        ".dot.db",
        "main.duckdb",
        "System.duckdb",
    ],
)
def test_duckdb_names_the_catalog_as_we_do(tmp_path, file):
    import duckdb

    with duckdb.connect(str(tmp_path / file)) as connection:
        [(name,)] = connection.execute("SELECT current_database()").fetchall()
    assert duckdb_catalog(tmp_path / file) == name


@pytest.mark.parametrize(
    ("kind", "more", "shown"),
    [
        ("duckdb", {}, "duckdb"),
        ("filesystem", {"options": {"bucket_url": "s3://lake"}}, "s3"),
        ("filesystem", {"options": {"bucket_url": "gs://lake"}}, "gcs"),
        ("filesystem", {"options": {"bucket_url": "abfss://lake@x"}}, "azure"),
        ("filesystem", {"options": {"bucket_url": "lake"}}, "filesystem"),
        ("filesystem", {}, "filesystem"),
    ],
)
def test_storage_kinds(kind, more, shown):
    assert destinations.storage_kind(target(kind, **more)) == shown


def test_credentials_are_looked_up_once(monkeypatch):
    # dlt asks its destination for them a hundred times in a run
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me:first@db.test/shop")
    destination = destinations.build(target("postgres"))
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me:second@db.test/shop")
    found = destination.configuration(factory.settings(destination, target("postgres")))
    assert (found.credentials.password, found.credentials.host) == ("first", "db.test")
    assert "first" not in repr(destination)


def test_missing_credentials_are_named(monkeypatch):
    destination = destinations.build(target("postgres"))
    assert "credentials" not in destination.config_params


def _file_of(destination):
    return Path(destination.config_params["credentials"].database)


def test_databases_without_a_host_have_addresses_of_their_own():
    found = {
        destinations.address(target("motherduck"), f"md:///{name}?motherduck_token=x")
        for name in ("first", "second")
    }
    assert len(found) == 2


@pytest.mark.skipif(duckdb.__version__ < "2", reason="dlt's DuckLake works with this DuckDB")
def test_ducklake_names_the_duckdb_that_it_needs():
    with pytest.raises(ConfigError, match=r"DuckLake: dlt .* does not work with DuckDB 2") as error:
        destinations.build(target("ducklake"))
    assert error.value.hint == "pip install 'duckdb<2'"


def test_accepted_schemas_need_a_queryable_destination():
    config = target("dummy").model_copy(update={"accepted_schema": "destination"})
    with pytest.raises(ConfigError, match="dummy can't be queried"):
        destinations.accepted_store(config).check()


class TestDuckDBFile:
    def test_is_relative_to_the_project(self, tmp_path):
        destination = destinations.build(target(project=tmp_path, database="data/x.duckdb"))
        assert _file_of(destination) == tmp_path / "data" / "x.duckdb"
        assert (tmp_path / "data").is_dir()

    def test_is_checkpointed_as_duckdb_does_it(self, tmp_path, monkeypatch):
        """dlt would let a gigabyte pile up in the write-ahead log; a user's setting wins."""

        def threshold():
            pipeline = dlt.pipeline(
                "shop",
                pipelines_dir=str(tmp_path / "p"),
                destination=destinations.build(target(project=tmp_path)),
            )
            with pipeline.sql_client() as client:
                return client.execute_sql("SELECT current_setting('checkpoint_threshold')")[0][0]

        assert threshold() == "15.2 MiB"
        name = "DESTINATION__DUCKDB__CREDENTIALS__PRAGMAS"
        monkeypatch.setenv(name, "[\"checkpoint_threshold='32MB'\"]")
        assert threshold() == "30.5 MiB"

    def test_may_be_absolute_or_in_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        for database in ("~/x.duckdb", str(tmp_path / "x.duckdb")):
            destination = destinations.build(target(database=database))
            assert _file_of(destination) == tmp_path / "x.duckdb"

    def test_may_be_given_as_credentials(self, tmp_path):
        for given in ("x.duckdb", f"duckdb:///{tmp_path}/x.duckdb"):
            destination = destinations.build(target(project=tmp_path), given)
            assert _file_of(destination) == tmp_path / "x.duckdb"

    def test_settings_of_duckdbs_that_dlts_configuration_has_stay(self, tmp_path, monkeypatch):
        def told():
            made = destinations.build(target(project=tmp_path))
            return made.config_params["credentials"].global_config

        assert told()["preserve_insertion_order"] is False
        name = "DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG"
        own = {"threads": 1, "preserve_insertion_order": True, "memory_limit": "3GB"}
        monkeypatch.setenv(name, json.dumps(own))
        assert told() == own

    def test_must_not_be_named_as_the_dataset(self, tmp_path):
        # DuckDB 2.0 and dlt 1.31: "Ambiguous reference to catalog or schema", for each load
        with pytest.raises(ConfigError, match="can't tell the database") as caught:
            destinations.build(target(project=tmp_path, database="Shop.duckdb"))
        assert "shop_db.duckdb" in str(caught.value.hint)

    @pytest.mark.parametrize("database", [":memory:", "md:cloud", "s3://lake/x.duckdb"])
    def test_must_be_a_file(self, database):
        with pytest.raises(ConfigError, match=r"destination\.database"):
            destinations.build(target(database=database))

    @pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "notes.txt"])
    def test_must_be_a_database(self, name, tmp_path):
        """DuckDB 2.0 opens the first two as a database in memory: loads went there, and away."""
        file = tmp_path / name
        file.write_text('{"a": 1}\n' * 10)
        with pytest.raises(DestinationError, match="not a valid DuckDB database") as caught:
            destinations.ensure_ready(target(project=tmp_path, database=name))
        assert "name another file" in str(caught.value.hint)
        assert file.read_text() == '{"a": 1}\n' * 10

    def test_must_not_be_a_folder(self, tmp_path):
        with pytest.raises(DestinationError, match="is a directory"):
            destinations.ensure_ready(target(project=tmp_path, database="."))


def test_who_reads_its_tables_hears_why_they_cannot_be_read(monkeypatch):
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me:s3cret@127.0.0.1:1/d")
    for driver_said in (ConnectionError("me:s3cret"), ValueError("me:s3cret")):
        with (
            pytest.raises(DestinationUnavailableError) as caught,
            destinations.reader(target("postgres")),
        ):
            raise driver_said
        assert caught.value.hint
        assert "s3cret" not in str(caught.value)


def test_an_error_of_our_own_while_tables_are_read_stays_one(tmp_path):
    for own in (ConfigError("ours"), ValueError("a bug")):
        with (
            pytest.raises(type(own), match=str(own)),
            destinations.reader(target(project=tmp_path, database="x.duckdb")),
        ):
            raise own


class TestDuckDBInBulk:
    """dlt connects to a database in memory, to which the file is attached."""

    @pytest.fixture
    def pipeline(self, tmp_path):
        def make():
            return dlt.pipeline(
                "shop",
                pipelines_dir=str(tmp_path / "p"),
                destination=destinations.build(target(project=tmp_path)),
                dataset_name="shop",
            )

        return make

    @staticmethod
    def _asked(pipeline, sql):
        with pipeline.sql_client() as client:
            return client.execute_sql(sql)

    def test_rows_lie_in_small_groups_of_a_file_like_any_other(self, pipeline, tmp_path):
        pipeline().run(pa.table({"n": range(70_000)}), table_name="t", loader_file_format="parquet")
        with duckdb.connect(str(tmp_path / "shop_db.duckdb")) as file:
            assert file.sql("SELECT count(DISTINCT n) FROM shop.t").fetchall() == [(70_000,)]
            file.sql("INSERT INTO shop.t (n) SELECT range + 70000 FROM range(70000)")
            groups = "SELECT max(row_group_id) FROM pragma_storage_info('shop.t')"
            assert file.sql(groups).fetchall()[0][0] >= 2
        assert self._asked(pipeline(), "SELECT count(DISTINCT n) FROM t") == [(140_000,)]

    def test_a_file_that_this_process_has_open_is_loaded_as_well(self, pipeline, tmp_path):
        with duckdb.connect(str(tmp_path / "shop_db.duckdb")) as notebook:
            first = pipeline()
            first.run([{"n": 1}], table_name="t")
            assert notebook.sql("SELECT n FROM shop.t").fetchall() == [(1,)]
        first.run([{"n": 2}], table_name="t")
        assert self._asked(pipeline(), "SELECT sum(n) FROM t") == [(3,)]

    def test_all_of_a_process_share_one(self, pipeline):
        first, second = pipeline(), pipeline()
        with first.sql_client() as one, second.sql_client() as other:
            one.execute_sql("CREATE SCHEMA a; CREATE TABLE a.t AS SELECT 1 AS n")
            assert other.execute_sql("SELECT n FROM a.t") == [(1,)]

    @pytest.mark.parametrize("folder", ["shop_db.duckdb.tmp", "elsewhere"])
    def test_it_spills_into_one_folder_also_when_asked_again(
        self, pipeline, tmp_path, monkeypatch, folder
    ):
        if folder == "elsewhere":
            told = json.dumps({"temp_directory": str(tmp_path / folder)})
            monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", told)
        monkeypatch.setattr(duckdb_bulk, "MEMORY_PER_THREAD", 25)
        first = pipeline()
        with first.sql_client() as client:
            client.execute_sql(
                "CREATE TEMP TABLE t AS SELECT range, md5(range::text) FROM range(3000000)"
            )
            assert list((tmp_path / folder).iterdir())
            assert self._asked(pipeline(), "SELECT 1") == [(1,)]

    def test_what_does_not_fit_into_the_limit_is_loaded_without_it(self, pipeline, monkeypatch):
        monkeypatch.setattr(duckdb_bulk, "MEMORY_PER_THREAD", 5)
        rows = pa.table({f"c{n}": [str(n) * 200] * 3000 for n in range(40)})
        loaded = pipeline()
        loaded.run(rows, table_name="t", loader_file_format="parquet")
        assert self._asked(loaded, "SELECT count(c39) FROM t") == [(3000,)]
        used = loaded.destination.config_params["credentials"]
        assert "memory_limit" not in used.global_config

    def test_where_dlt_has_changed_it_connects_to_the_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(duckdb_bulk, "_fits", lambda: False)
        made = destinations.build(target(project=tmp_path)).config_params["credentials"]
        assert made.statements is None
        assert made._conn_str() == str(tmp_path / "shop_db.duckdb")

    @pytest.mark.parametrize("name", ["a'b/o\"k.duckdb", "Memory.duckdb", "System.duckdb"])
    def test_rows_are_in_the_file_whatever_it_is_called(self, tmp_path, name):
        made = destinations.build(target(project=tmp_path, database=name))
        pipeline = dlt.pipeline("shop", pipelines_dir=str(tmp_path / "p"), destination=made)
        pipeline.run([{"n": 1}], table_name="t", dataset_name="d")
        with duckdb.connect(str(tmp_path / name)) as file:
            assert file.sql("SELECT n FROM d.t").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("kind", "more", "hint"),
    [
        ("postgress", {}, "did you mean `postgres`?"),
        ("BigQuery", {}, "did you mean `bigquery`?"),
        ("exceptions", {}, "dlt has"),
        ("bigquery", {"options": {"locatoin": "EU"}}, "did you mean `location`?"),
        ("duckdb", {"loader_file_format": "xml"}, "it loads insert_values, parquet"),
        ("duckdb", {"loader_file_format": "jsonl"}, "parquet is used then"),
        ("postgres", {"loader_file_format": "jsonl"}, "it loads insert_values, csv"),
    ],
)
def test_what_dlt_does_not_have_is_refused(kind, more, hint, tmp_path):
    with pytest.raises(ConfigError) as caught:
        destinations.build(target(kind, project=tmp_path, **more))
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("kind", "module", "line"),
    [
        ("postgres", "psycopg2", "pip install 'millstream[postgres]'"),
        ("bigquery", "google.cloud.bigquery", "pip install 'millstream[bigquery]'"),
        ("clickhouse", "clickhouse_connect", "pip install 'dlt[clickhouse]'"),
    ],
)
def test_a_missing_driver_is_named_with_the_fix(kind, module, line, monkeypatch):
    # what an import finds where the package is not installed
    monkeypatch.setitem(sys.modules, module, None)
    for name in list(sys.modules):
        if name.startswith(f"dlt.destinations.impl.{kind}."):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependencyError) as caught:
        destinations.build(target(kind))
    assert caught.value.hint == line


def test_a_missing_filesystem_package_is_named_with_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    config = target("filesystem", options={"bucket_url": "s3://lake"})
    with pytest.raises(MissingDependencyError) as caught:
        destinations.ensure_ready(config)
    assert caught.value.hint == "pip install 'dlt[s3]'"


def test_the_configured_format_wins():
    assert destinations.loader_file_format(target()) == "parquet"
    assert destinations.loader_file_format(target(loader_file_format="model")) == "model"
    assert destinations.loader_file_format(target("clickhouse")) is None
    assert destinations.loader_file_format(target("postgres")) == "csv"
    assert destinations.loader_file_format(target("postgres"), engine_fits=False) == "insert_values"


class TestRedact:
    PASSWORD = "p/a:s@s%w&rd"

    @pytest.mark.parametrize(
        "text",
        [
            "connecting to postgresql://me:p/a:s@s%w&rd@host/db failed",
            f"connecting to postgresql://me:{quote('p/a:s@s%w&rd', safe='')}@host/db failed",
            "host=h user=me password=p/a:s@s%w&rd dbname=d",
        ],
    )
    def test_known_secrets_go_whatever_they_look_like(self, text):
        shown = redact_foreign(text, [self.PASSWORD])
        assert self.PASSWORD not in shown
        assert quote(self.PASSWORD, safe="") not in shown
        assert "***" in shown

    @pytest.mark.parametrize(
        "text",
        [
            "mysql+pymysql://me:hunter2@host:3306/db",
            "password=hunter2 host=h",
            "{'password': 'hunter2'}",
            '{"private_key": "hunter2", "x": 1}',
            "token: hunter2",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nhunter2",
        ],
    )
    def test_what_looks_like_a_secret_goes(self, text):
        assert "hunter2" not in destinations.redact(text)

    def test_the_rest_stays(self):
        text = "connection to server at 127.0.0.1, port 5432 failed: database shop does not exist"
        assert destinations.redact(text) == text


def test_no_driver_exception_hangs_on_the_error(monkeypatch):
    """Whoever prints the traceback must not see what the driver said of the connection string."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me:s3cret@127.0.0.1:1/d")
    with pytest.raises(DestinationUnavailableError) as caught:
        destinations.ensure_ready(target("postgres"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_what_hangs_is_given_up(monkeypatch, tmp_path):
    from threading import Event

    monkeypatch.setattr("millstream.destinations.preflight_checks._DEADLINE", 0.2)
    monkeypatch.setattr(
        "millstream.destinations.preflight_checks._ask", lambda kind, client: Event().wait(60)
    )
    config = target("filesystem", project=tmp_path, options={"bucket_url": "lake"})
    with pytest.raises(DestinationUnavailableError, match="no answer within"):
        destinations.ensure_ready(config)


def test_an_unknown_fault_is_still_a_destination_error():
    error = driver_errors.explain(
        RuntimeError("boom"), target("clickhouse"), where="clickhouse at h"
    )
    assert type(error) is DestinationError
    assert error.message == "clickhouse at h: boom"


def test_the_environment_is_ours():
    """The shared fixture: no credentials of whoever runs the tests."""
    ours = {"RUNTIME__DLTHUB_TELEMETRY", "DLT_DATA_DIR", "MILLSTREAM_HOME"}
    assert ours <= set(os.environ)
    assert not [name for name in os.environ if name.startswith(("DESTINATION__", "SOURCES__"))]


class TestRowCounts:
    @pytest.fixture
    def pipeline(self, tmp_path):
        def load(config, rows, table="orders"):
            pipeline = dlt.pipeline(
                "p",
                pipelines_dir=str(tmp_path / "pipelines"),
                destination=destinations.build(config),
                dataset_name=config.dataset,
            )
            pipeline.run(rows, table_name=table)
            return pipeline

        return load

    @pytest.mark.parametrize("kind", ["duckdb", "filesystem"])
    def test_counts_each_and_knows_what_is_not_there(self, kind, tmp_path, pipeline):
        more = {"options": {"bucket_url": "lake"}} if kind == "filesystem" else {}
        config = target(kind, project=tmp_path, **more)
        loaded = pipeline(config, [{"id": i, "tags": ["a", "b"]} for i in range(5)])
        counts = destinations.row_counts(
            loaded, loaded.default_schema, ["orders", "orders__tags", "orders__missing"]
        )
        assert counts == {"orders": 5, "orders__tags": 10, "orders__missing": 0}
        assert list(counts) == ["orders", "orders__tags", "orders__missing"]

    def test_quotes_names(self, tmp_path, pipeline):
        loaded = pipeline(target(project=tmp_path, dataset="select"), [{"id": 1}], "group")
        assert destinations.row_counts(loaded, loaded.default_schema, ["group"]) == {"group": 1}

    def test_nothing_asked(self, tmp_path, pipeline):
        loaded = pipeline(target(project=tmp_path), [{"id": 1}])
        assert destinations.row_counts(loaded, loaded.default_schema, []) == {}


class TestFallbacks:
    @staticmethod
    def loaded(config, tmp_path, **hints):
        pipeline = dlt.pipeline(
            "p",
            pipelines_dir=str(tmp_path / "pipelines"),
            destination=destinations.build(config),
            dataset_name=config.dataset,
        )
        pipeline.extract(dlt.resource([{"id": 1, "tags": ["a"]}], name="orders", **hints))
        pipeline.normalize()
        return pipeline

    def test_files_that_cannot_merge_are_named(self, tmp_path):
        config = target("filesystem", project=tmp_path, options={"bucket_url": "lake"})
        merging = {"primary_key": "id", "write_disposition": "merge"}
        pipeline = self.loaded(config, tmp_path, **merging)
        schema = pipeline.default_schema
        [warning] = destinations.fallbacks(pipeline, schema, {"orders": 1})
        assert warning.startswith("orders: rows were appended, not merged")
        assert destinations.fallbacks(pipeline, schema, {}) == ()

    @pytest.mark.parametrize(
        ("kind", "hints"),
        [
            ("duckdb", {"primary_key": "id", "write_disposition": "merge"}),
            ("filesystem", {"write_disposition": "append"}),
            ("filesystem", {"write_disposition": "replace"}),
        ],
    )
    def test_what_is_done_as_asked_is_not(self, kind, hints, tmp_path):
        more = {"options": {"bucket_url": "lake"}} if kind == "filesystem" else {}
        pipeline = self.loaded(target(kind, project=tmp_path, **more), tmp_path, **hints)
        assert destinations.fallbacks(pipeline, pipeline.default_schema, {"orders": 1}) == ()
