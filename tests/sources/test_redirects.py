"""Files over HTTP come from the hosts that are named, wherever a server would send us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dlt
import orjson
import pytest
from pydantic import ValidationError

from millstream.config import FilesConfig
from millstream.errors import SourceError
from millstream.sources.files import FilesSource
from millstream.sources.redirects import options

pytest.importorskip("aiohttp")

TEXT = b'{"id": 1}\n{"id": 2}\n'


class Server(ThreadingHTTPServer):
    """Has `/a.jsonl`, and sends whoever asks for anything else to where `moved` says."""

    moved = "/a.jsonl"
    heads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._answer(self.server.heads)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, moves: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        is_there = self.path == "/a.jsonl" or not moves
        self.send_response(200 if is_there else 302)
        if not is_there:
            self.send_header("Location", self.server.moved)
        self.send_header("Content-Length", str(len(TEXT) if is_there else 0))
        self.end_headers()
        if self.command == "GET" and is_there:
            self.wfile.write(TEXT)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def here() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def there() -> Iterator[Server]:
    with serving() as server:
        yield server


def read(path: str, **settings: Any) -> list[Any]:
    config = FilesConfig(streams={"items": {"path": path, "format": "jsonl"}}, **settings)
    made = FilesSource(config, project=Path())
    pipeline = dlt.pipeline("redirects", destination="duckdb")
    pipeline.activate()
    return orjson.loads(orjson.dumps(list(made.open("items"))))


def test_a_redirect_within_the_host_is_followed(here: Server) -> None:
    assert read(here.url("/moved")) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize("heads", [True, False], ids=["at once", "once it is read"])
@pytest.mark.parametrize("path", ["{}", "simplecache::{}"])
def test_another_port_is_another_host(here: Server, there: Server, heads: bool, path: str) -> None:
    here.moved, here.heads = there.url("/a.jsonl?secret=1"), heads
    with pytest.raises(Exception) as caught:
        read(path.format(here.url("/moved")))
    error = failure(caught.value)
    assert error.message == (
        f"{here.url('/moved')} redirects to another host, {there.url('')}; refused"
    )
    assert f"hosts: [127.0.0.1:{there.server_port}]" in str(error.hint)
    assert there.asked == []


def test_a_listing_is_not_read_elsewhere(here: Server, there: Server) -> None:
    here.moved = there.url("/a.jsonl")
    with pytest.raises(SourceError, match="redirects to another host"):
        read(here.url("/all/*.jsonl"))
    assert there.asked == []


def test_another_name_is_another_host(here: Server) -> None:
    here.moved = here.url("/a.jsonl", "localhost")
    with pytest.raises(Exception) as caught:
        read(here.url("/moved"))
    assert "redirects to another host, http://localhost" in failure(caught.value).message
    assert not [asked for asked in here.asked if "a.jsonl" in asked]


@pytest.mark.parametrize("moved", ["http://[", "file:///etc/passwd", "ftp://127.0.0.1/x", "//evil"])
def test_other_addresses(here: Server, moved: str) -> None:
    here.moved = moved
    with pytest.raises(Exception) as caught:
        read(here.url("/moved"))
    assert "redirects to" in failure(caught.value).message
    assert failure(caught.value).hint


def test_a_host_that_is_named_may_be_asked(here: Server, there: Server) -> None:
    here.moved = there.url("/a.jsonl", "localhost")
    assert read(here.url("/moved"), hosts=[f"LOCALHOST:{there.server_port}"]) == [
        {"id": 1},
        {"id": 2},
    ]
    with pytest.raises(Exception, match="another host"):
        read(here.url("/moved"), hosts=["localhost"])  # that is its port 80


def test_an_address_of_ipv6_is_named_as_the_hint_names_it() -> None:
    [made] = options("http://x/a.jsonl", {}, ["[::1]:8080", "[::2]"]).values()
    may = made["get_client"]._may
    assert may("http://x/a.jsonl", "http://[::1]:8080/a.jsonl")
    assert may("http://x/a.jsonl", "http://[::2]/a.jsonl")
    assert not may("http://x/a.jsonl", "http://[::1]/a.jsonl")


@pytest.mark.parametrize("host", ["http://x", "a/b", "", "*", "me@x"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError, match="is not a host"):
        FilesConfig(streams={"items": {"path": "a.jsonl"}}, hosts=[host])


def failure(error: BaseException | None) -> SourceError:
    while error is not None and not isinstance(error, SourceError):
        error = error.__cause__ or error.__context__
    assert error is not None
    return error
