"""A row never reaches a terminal or a log, even where psycopg2 prints its error."""

from __future__ import annotations

import io
import sys
from threading import Thread

import psycopg2
import pytest

from millstream.destinations.driver_prints import heard
from services.postgres import Postgres

pytestmark = pytest.mark.xdist_group("postgres")

ENDS_ITS_OWN_CONNECTION = """
    CREATE TABLE t (name TEXT);
    CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
    CREATE TRIGGER ends BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ends()
"""


def test_a_connection_that_is_lost_in_a_copy(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    database = postgres_server.new_database()
    postgres_server.query(database, ENDS_ITS_OWN_CONNECTION)
    connection = psycopg2.connect(postgres_server.url(database))
    with heard() as hidden, connection.cursor() as cursor, pytest.raises(psycopg2.Error):
        cursor.copy_expert("COPY t FROM STDIN", io.BytesIO(b"secret\n"))
    assert "terminating connection" in str(hidden[0])
    assert isinstance(hidden[0], psycopg2.OperationalError)
    out, err = capsys.readouterr()
    assert not out + err


def test_errors_of_others_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.excepthook

    def of_another_thread() -> None:
        sys.excepthook(ValueError, ValueError("of another thread"), None)

    with heard() as hidden:
        other = Thread(target=of_another_thread)
        other.start()
        other.join()
    assert not hidden
    assert "of another thread" in capsys.readouterr().err
    assert sys.excepthook is before
