"""What is installed is what is pinned, so that `make audit` looks at what the tests ran with."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def pinned() -> list[Requirement]:
    lines = CONSTRAINTS.read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def test_each_constraint_is_one_version() -> None:
    for each in pinned():
        assert re.fullmatch(r"==[\w.!+-]+", str(each.specifier)), each
        assert each.url is None, each


def test_what_is_installed_is_what_is_pinned() -> None:
    environment = {**default_environment(), "extra": ""}
    for each in pinned():
        if each.marker is None or each.marker.evaluate(environment):
            try:
                version = metadata.version(each.name)
            except metadata.PackageNotFoundError:
                continue  # an extra that this environment goes without
            assert each.specifier.contains(version, prereleases=True), (each, version)


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """What `make check` runs."""
    spec = importlib.util.spec_from_file_location("audit", CONSTRAINTS.parent / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Database:
    """Answers as OSV's documentation has it; or, with `says`, otherwise."""

    def __init__(self) -> None:
        self.flawed: dict[str, str] = {}
        self.says: bytes | None = None
        self.url = ""

    def answer(self, query: Any) -> bytes:
        if self.says is not None:
            return self.says
        results = [
            {"vulns": [{"id": self.flawed[each["package"]["name"]], "modified": "2026-01-01"}]}
            if each["package"]["name"] in self.flawed
            else {}
            for each in query["queries"]
        ]
        return json.dumps({"results": results}).encode()


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = made.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()


def test_a_known_flaw_fails_the_check(
    audit: ModuleType, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(database.url) == 0
    assert "no known flaw" in capsys.readouterr().out
    database.flawed = {"redis": "GHSA-1"}
    assert audit.main(database.url) == 1
    assert re.search(r"redis==[\d.]+: GHSA-1", capsys.readouterr().out)


@pytest.mark.parametrize("says", [None, b"<html>", b"{}", b'{"results": [{}]}', b"[]"])
def test_an_unreachable_database_fails_nothing(
    audit: ModuleType,
    database: Database,
    says: bytes | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database.says = says
    assert audit.main(database.url if says else "http://127.0.0.1:9/") == 0
    assert "SKIPPED" in capsys.readouterr().out
