"""Whatever a server answers ends in rows or in an error of ours, after so many requests."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.errors import MillstreamError, SourceDataError
from services.github import Fault, GitHubServer
from sources.github_kit import FakeClock, causes, issues, rows, source

NIGHTLY = bool(os.environ.get("MILLSTREAM_NIGHTLY"))
ROWS = 35  # of 10 a page
MOST_REQUESTS = 200
A_DAY = 86_400.0

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
LATIN = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)
NUMBERS = (
    st.integers().map(str)
    | st.sampled_from(["²", "0", "-1", "1e9", "9" * 400, "NaN", "9" * 5000])
    | LATIN
)
LINKS = st.lists(
    st.builds(
        '<{}>; rel="{}"'.format,
        st.sampled_from(
            [
                "{here}?page=1",
                "{here}?page=2&per_page=10",
                "{here}?page=²",
                "{here}?page=99999999999",
                "{here}?page=" + "9" * 5000,
                "{here}?after=x",
                "",
                "?page=3",
                "http://[",
                "http://127.0.0.1:99999/x",
                "//evil.example/x",
                "file:///etc/passwd",
            ]
        )
        | LATIN,
        st.sampled_from(["next", "last", "prev"]) | LATIN,
    ),
    min_size=1,
    max_size=3,
).map(", ".join)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Link": LINKS,
        "ETag": LATIN,
        "Date": LATIN,
        "Retry-After": NUMBERS,
        "X-RateLimit-Remaining": NUMBERS,
        "X-RateLimit-Reset": NUMBERS,
        "X-RateLimit-Limit": NUMBERS,
        "Location": st.sampled_from(["http://[", "", "/repos/octo/hello/issues", "//evil.example"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "nothing"]),
    },
)
BODIES = (
    VALUES.map(json.dumps)
    | st.text(max_size=40)
    | st.sampled_from(
        ["[" * 100_000, '[{"id": 1' + "0" * 5000 + "}]", '[{"id": 1, "a": "\\ud800"}]']
    )
    | st.integers(0, ROWS).map(lambda count: json.dumps(issues(count)))
)
FAULTS = st.builds(
    Fault,
    match=st.just("/issues"),
    times=st.integers(1, 3) | st.none(),
    skip=st.integers(0, 2),
    status=st.sampled_from(
        [200, 200, 200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 410, 418, 422, 429]
    )
    | st.integers(500, 599),
    headers=HEADERS,
    body=BODIES,
)


@pytest.fixture(scope="module")
def server() -> Iterator[GitHubServer]:
    with GitHubServer(issues(ROWS), clock=FakeClock().now) as running:
        yield running


@given(fault=FAULTS, parallel=st.integers(1, 3))
@settings(
    max_examples=1000 if NIGHTLY else 100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_answer_ends_in_rows_or_in_an_error(
    server: GitHubServer, fault: Fault, parallel: int
) -> None:
    outcome, clock, asked = answered(server, fault, parallel=parallel)
    assert asked < MOST_REQUESTS
    assert max(clock.waits, default=0.0) <= A_DAY
    if isinstance(outcome, Exception):
        known = [each for each in causes(outcome) if isinstance(each, MillstreamError)]
        assert known, repr(outcome)
        assert known[0].message


def answered(
    server: GitHubServer, fault: Fault, **options: Any
) -> tuple[list[Any] | Exception, FakeClock, int]:
    """What a read ends in, the waits, and how many requests it took."""
    here = f"{server.url}/repos/octo/hello/issues"
    headers = {name: value.replace("{here}", here) for name, value in fault.headers.items()}
    clock = FakeClock()
    before = len(server.asked)
    server.faults.add(
        Fault(fault.match, fault.times, fault.skip, "answer", fault.status, headers, fault.body)
    )
    try:
        return rows(source(server, clock=clock, **options)), clock, len(server.asked) - before
    except Exception as error:
        return error, clock, len(server.asked) - before
    finally:
        server.faults.clear()


@pytest.mark.parametrize("link", ["{here}?page=2&per_page=10", "{here}?after=x"])
def test_links_in_a_circle_end(server: GitHubServer, link: str) -> None:
    page = json.dumps(issues(10))
    fault = Fault("/issues", None, 1, "answer", 200, {"Link": f'<{link}>; rel="next"'}, page)
    outcome, _, asked = answered(server, fault, parallel=1)
    assert asked < 10
    assert isinstance(outcome, Exception)
    (error,) = [each for each in causes(outcome) if isinstance(each, SourceDataError)]
    assert "was returned twice" in error.message
    assert error.hint


def test_a_bomb_is_not_unpacked(server: GitHubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millstream.sources.github.client.LARGEST_ANSWER", 1 << 20)
    packed = gzip.compress(b"[" + b" " * (2 << 20) + b"]")
    fault = Fault("/issues", None, 0, "answer", 200, {"Content-Encoding": "gzip"}, packed)
    outcome, _, asked = answered(server, fault)
    assert isinstance(outcome, Exception)
    (error,) = [each for each in causes(outcome) if isinstance(each, SourceDataError)]
    assert "more than 1 MB" in error.message
    assert asked < 5
