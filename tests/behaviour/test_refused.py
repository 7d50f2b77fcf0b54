"""A destination that can't be loaded into is found out before the source is asked for anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from behaviour.conftest import configured
from behaviour.feed import Feed
from millstream import destinations
from millstream.errors import (
    ConfigError,
    DestinationAuthError,
    DestinationError,
    DestinationNotFoundError,
    DestinationUnavailableError,
)
from millstream.runs.runner import run
from services import free_port
from services.bigquery import PROJECT, new_key
from services.places import Place

POSTGRES = "DESTINATION__POSTGRES__CREDENTIALS"
BIGQUERY = "DESTINATION__BIGQUERY__CREDENTIALS"

Refused = Callable[..., DestinationError]

pytestmark_postgres = pytest.mark.xdist_group("postgres")
pytestmark_bigquery = pytest.mark.xdist_group("bigquery")


@pytest.fixture
def refused(feed: Feed) -> Refused:
    """Run, be refused, find the source untouched, and hear the same from the doctor."""

    def refused(
        place: Place, kind: type[Exception], *, secret: str = "", **destination: Any
    ) -> Any:
        feed.rows = [{"id": 1}]
        config = configured(place, **destination)
        with pytest.raises(kind) as caught:
            run(config, "orders")
        assert type(caught.value) is kind
        assert feed.asked == 0, "rows were extracted although they could not be loaded"
        last = destinations.preflight(config)[-1]
        assert (last.ok, last.detail, last.hint) == (
            False,
            caught.value.message,
            caught.value.hint,
        )
        if secret:
            shown = "".join(_traceback(caught.value))
            assert secret not in shown
        return caught.value

    return refused


def _traceback(error: BaseException) -> list[str]:
    import traceback

    return traceback.format_exception(error)


def connect_as(place: Place, monkeypatch: pytest.MonkeyPatch, name: str, options: str = "") -> str:
    """Make a role, and let it load; its name, which is another in each database."""
    server, database = place.extra["server"], place.extra["database"]
    role = f"{name}_{database}"
    place.query(f"CREATE ROLE {role} LOGIN PASSWORD 'r3ader' {options}")
    monkeypatch.setenv(POSTGRES, server.url(database, user=role, password="r3ader"))
    return role


@pytestmark_postgres
class TestPostgres:
    def test_no_credentials(self, postgres_place: Place, refused: Refused, monkeypatch):
        monkeypatch.delenv(POSTGRES)
        error = refused(postgres_place, DestinationAuthError)
        assert f"{POSTGRES}=postgresql://" in error.hint

    def test_bad_password(self, postgres_place: Place, refused: Refused, monkeypatch):
        server, database = postgres_place.extra["server"], postgres_place.extra["database"]
        monkeypatch.setenv(POSTGRES, server.url(database, password="Wr0ng-pa55"))
        error = refused(postgres_place, DestinationAuthError, secret="Wr0ng-pa55")
        assert "password authentication failed" in error.message
        assert POSTGRES in error.hint

    def test_no_connection_free(self, postgres_place: Place, refused: Refused, monkeypatch):
        connect_as(postgres_place, monkeypatch, "crowd", "CONNECTION LIMIT 0")
        error = refused(postgres_place, DestinationUnavailableError)
        assert "too many connections" in error.message
        assert "lower `max_concurrent_streams`" in error.hint

    def test_not_a_connection_string(self, postgres_place: Place, refused: Refused, monkeypatch):
        monkeypatch.setenv(POSTGRES, "host=db password=S3cret-pa55")
        error = refused(postgres_place, DestinationAuthError, secret="S3cret-pa55")
        assert POSTGRES in error.hint

    def test_missing_database(self, postgres_place: Place, refused: Refused, monkeypatch):
        monkeypatch.setenv(POSTGRES, postgres_place.extra["server"].url("no_such_database"))
        error = refused(postgres_place, DestinationNotFoundError)
        assert "no_such_database" in error.message

    def test_nobody_listens(self, postgres_place: Place, refused: Refused, monkeypatch):
        url = f"postgresql://me:S3cret-pa55@127.0.0.1:{free_port()}/db"
        monkeypatch.setenv(POSTGRES, url)
        refused(postgres_place, DestinationUnavailableError, secret="S3cret-pa55")

    def test_a_server_that_never_answers(self, postgres_place: Place, feed: Feed, monkeypatch):
        import socket

        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            monkeypatch.setenv(POSTGRES, f"postgresql://me:S3cret-pa55@127.0.0.1:{port}/db")
            with pytest.raises(DestinationUnavailableError, match="timeout expired"):
                run(configured(postgres_place), "orders")
            assert feed.asked == 0

    def test_may_not_make_the_schema(self, postgres_place: Place, refused: Refused, monkeypatch):
        database = postgres_place.extra["database"]
        role = connect_as(postgres_place, monkeypatch, "reader")
        error = refused(postgres_place, DestinationAuthError)
        assert f'GRANT CREATE ON DATABASE "{database}" TO "{role}"' in error.hint
        postgres_place.query("CREATE SCHEMA shop")
        error = refused(postgres_place, DestinationAuthError)
        assert f'GRANT CREATE, USAGE ON SCHEMA "shop" TO "{role}"' in error.hint
        # the hint is the fix
        postgres_place.query(error.hint)
        destinations.ensure_ready(configured(postgres_place))

    def test_given_credentials_win(self, postgres_place: Place, monkeypatch):
        server, database = postgres_place.extra["server"], postgres_place.extra["database"]
        monkeypatch.setenv(POSTGRES, server.url(database, password="Wr0ng-pa55"))
        destinations.ensure_ready(configured(postgres_place), server.url(database))


@pytestmark_bigquery
class TestBigQueryEmulator:
    def test_no_credentials(self, bigquery_place: Place, refused: Refused, monkeypatch):
        monkeypatch.delenv(BIGQUERY)
        monkeypatch.setenv("NO_GCE_CHECK", "true")  # no look for Google's metadata server
        error = refused(bigquery_place, DestinationAuthError)
        assert BIGQUERY in error.hint

    def test_a_key_that_is_none(self, bigquery_place: Place, refused: Refused, monkeypatch):
        monkeypatch.setenv(BIGQUERY, _account(bigquery_place, private_key="S3cret-key"))
        error = refused(bigquery_place, DestinationAuthError, secret="S3cret-key")
        assert BIGQUERY in error.hint

    def test_not_json(self, bigquery_place: Place, refused: Refused, monkeypatch):
        monkeypatch.setenv(BIGQUERY, "S3cret-key")
        error = refused(bigquery_place, DestinationAuthError, secret="S3cret-key")
        assert BIGQUERY in error.hint

    def test_a_key_that_was_revoked(self, bigquery_place: Place, refused: Refused, monkeypatch):
        gone = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        with _answering(400, gone) as port:
            url = f"http://127.0.0.1:{port}/token"
            monkeypatch.setenv(
                BIGQUERY, _account(bigquery_place, token_uri=url, private_key=new_key())
            )
            error = refused(bigquery_place, DestinationAuthError)
        assert "invalid_grant" in error.message
        assert BIGQUERY in error.hint

    @pytest.mark.nightly
    def test_nobody_listens(self, bigquery_place: Place, refused: Refused, monkeypatch):
        # Google's library goes on trying until the deadline
        monkeypatch.setattr("millstream.destinations.preflight_checks._DEADLINE", 12.0)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
        refused(bigquery_place, DestinationUnavailableError)

    @pytest.mark.parametrize(
        ("status", "reason", "message", "kind"),
        [
            (404, "notFound", "Not found: Project test", DestinationNotFoundError),
            (
                403,
                "accessDenied",
                "Access Denied: Project test: User does not have bigquery.jobs.create permission",
                DestinationAuthError,
            ),
        ],
    )
    def test_what_the_emulator_never_says(
        self, bigquery_place: Place, refused: Refused, monkeypatch, status, reason, message, kind
    ):
        """Google's documented answers for a missing project and a missing permission."""
        error = {"reason": reason, "message": message, "domain": "global"}
        body = {"error": {"code": status, "message": message, "errors": [error]}}
        with _answering(status, body) as port:
            monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{port}")
            assert message in refused(bigquery_place, kind).message


class TestDuckDB:
    @pytest.mark.nightly
    def test_locked_by_another_program(
        self, duckdb_place: Place, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(sys.modules["millstream.destinations.write_lock"], "PATIENCE", 0.2)
        file = duckdb_place.extra["file"]
        code = f"import duckdb; c = duckdb.connect({str(file)!r}); print(flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout
            holder.stdout.readline()
            error = refused(duckdb_place, DestinationUnavailableError)
            assert str(file) in error.message
            assert f"process {holder.pid} " in error.message
            holder.kill()

    def test_not_a_database(self, duckdb_place: Place, refused: Refused):
        file = duckdb_place.extra["file"]
        file.write_text("id,name\n" * 2000)
        error = refused(duckdb_place, DestinationError)
        assert "not a valid DuckDB database" in error.message
        assert file.read_text() == "id,name\n" * 2000

    def test_a_folder_in_its_place(self, duckdb_place: Place, refused: Refused):
        duckdb_place.extra["file"].mkdir()
        assert "directory" in refused(duckdb_place, DestinationError).message

    def test_a_file_where_its_folder_should_be(self, duckdb_place: Place, feed: Feed):
        (duckdb_place.project / "data").touch()
        with pytest.raises(ConfigError, match="can't make the folder"):
            run(configured(duckdb_place, database="data/warehouse.duckdb"), "orders")
        assert feed.asked == 0


class TestFilesystem:
    def test_no_bucket_url(self, filesystem_place: Place, refused: Refused):
        error = refused(filesystem_place, ConfigError, options={})
        assert "bucket_url" in error.hint
        assert "DESTINATION__FILESYSTEM__BUCKET_URL" in error.hint

    def test_a_file_in_its_place(self, filesystem_place: Place, refused: Refused):
        filesystem_place.extra["bucket"].write_text("")
        assert "not a folder" in refused(filesystem_place, DestinationError).message


def test_an_unknown_destination(duckdb_place: Place, refused: Refused):
    assert "`postgres`" in refused(duckdb_place, ConfigError, type="postgers").hint


def test_the_doctor_changes_nothing(place: Place):
    before = _contents(place)
    checks = destinations.preflight(configured(place))
    assert [check.name for check in checks] == [
        "destination",
        "credentials",
        "connection",
        "dataset",
    ]
    assert all(check.ok for check in checks)
    assert "made by the first run" in checks[-1].detail
    assert _contents(place) == before


def test_ready_twice_and_side_by_side(place: Place):
    from concurrent.futures import ThreadPoolExecutor

    config = configured(place)
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda _: destinations.ensure_ready(config), range(4)):
            pass
    destinations.ensure_ready(config)
    assert destinations.preflight(config)[-1].detail == place.dataset


def _contents(place: Place) -> Any:
    if place.kind in ("duckdb", "filesystem"):
        return sorted(path for path in place.project.rglob("*") if "home" not in str(path))
    schemata = "INFORMATION_SCHEMA.SCHEMATA"
    return sorted(place.query(f"SELECT schema_name FROM {schemata}"))


def _account(place: Place, **changes: str) -> str:
    """A service account as Google's JSON, with something wrong."""
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "client_email": "loader@test.example",
        "token_uri": f"http://127.0.0.1:{place.extra['emulator'].token_port}/token",
    }
    return json.dumps({**account, **changes})


def test_paths_are_the_projects(duckdb_place: Place, tmp_path: Path):
    destinations.ensure_ready(configured(duckdb_place, database="deep/er/warehouse.duckdb"))
    assert (tmp_path / "deep/er/warehouse.duckdb").is_file()


@contextmanager
def _answering(status: int, body: Any) -> Iterator[int]:
    """A server of Google's that always gives the same answer; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
