"""What the driver and the server say, in errors with the fix, and without passwords."""

from __future__ import annotations

from typing import Any

import pytest
from bson.errors import InvalidBSON
from pymongo import errors as driver

from millstream.errors import (
    SourceAuthError,
    SourceDataError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.sources.mongodb.errors import explain, is_unresolved, lost_token, passing


def refused(code: int, *labels: str) -> driver.OperationFailure:
    details = {"errmsg": "the server's words", "code": code, "errorLabels": [*labels]}
    return driver.OperationFailure("driver's words", code, details)


NO_SERVER = driver.ServerSelectionTimeoutError


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (refused(18), SourceAuthError, "refuses the user name or password"),
        (refused(13), SourceAuthError, "not allowed to read"),
        (refused(26), SourceNotFoundError, "does not exist"),
        (refused(11600), SourceUnavailableError, "still failing after retries"),
        (refused(292), SourceError, "can't sort within its memory"),
        (refused(40573), SourceError, "change streams need a replica set"),
        (refused(999), SourceError, r"refused \(code 999\): the server's words"),
        (NO_SERVER("x: Name or service not known"), SourceUnavailableError, "has no address"),
        (
            NO_SERVER("no (configured timeouts: 5)"),
            SourceUnavailableError,
            "can't be reached: no\n",
        ),
        (driver.ConfigurationError("tlsCAFile"), SourceUnavailableError, "TLS is not set up"),
        (driver.ConfigurationError("odd"), SourceError, "connection string is wrong"),
        (driver.AutoReconnect("certificate"), SourceUnavailableError, "TLS connection failed"),
        (InvalidBSON("bad"), SourceDataError, "not valid BSON"),
        (OSError("broken pipe"), SourceUnavailableError, "can't be reached: broken pipe"),
        (RuntimeError("odd"), SourceError, "RuntimeError: odd"),
    ],
)
def test_each_failure_is_an_error_with_a_fix(error: Any, kind: type, words: str) -> None:
    found = explain(error, "collection shop.orders")
    assert type(found) is kind
    with pytest.raises(kind, match=rf"^collection shop\.orders.*{words}"):
        raise found


def test_no_password_is_in_what_is_said() -> None:
    said = "could not connect to mongodb://me:secret@host:1/db"
    for error in (driver.AutoReconnect(said), driver.ConfigurationError(said), OSError(said)):
        assert "secret" not in str(explain(error, "the MongoDB server"))
    details = {"errmsg": said}
    assert "secret" not in str(explain(driver.OperationFailure("x", 999, details), "x"))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (refused(189), True),
        (refused(13), False),
        (refused(999, "ResumableChangeStreamError"), True),
        (driver.AutoReconnect("reset"), True),
        (driver.WaitQueueTimeoutError("busy"), True),
        (driver.ServerSelectionTimeoutError("no primary"), True),
        (driver.ServerSelectionTimeoutError("Certificate has expired"), False),
        (driver.ConfigurationError("odd"), False),
        (ValueError("odd"), False),
    ],
)
def test_what_another_attempt_may_cure(error: Exception, again: bool) -> None:
    assert passing(error) == again


def test_changes_that_the_server_no_longer_has() -> None:
    assert [lost_token(refused(code)) for code in (286, 280, 136, 260, 13)] == [True] * 4 + [False]
    assert not lost_token(ValueError("286"))
    assert is_unresolved(OSError("[Errno 11001] getaddrinfo failed"))
    assert not is_unresolved(OSError("connection refused"))
