"""A project of files in a folder, loaded by the command line, and a web server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import main
from services.places import Place


@dataclass
class FileProject:
    """A project with a stream `t` of files, whose rows go to `place`."""

    folder: Path
    place: Place
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def configure(self, path: str, more: dict[str, Any] | None = None, **stream: Any) -> None:
        destination = dict(self.place.destination)
        if self.place.kind == "duckdb":
            destination["database"] = str(self.place.extra["file"])
        attributes = {
            "name": "shop",
            "source": {"type": "files", "streams": {"t": {"path": path, **stream}}},
            "destination": destination,
            **(more or {}),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "defs.yaml").write_text(
            json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
        )

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def run(self, *arguments: str) -> int:
        code = main(["run", str(self.folder / "defs.yaml"), *arguments])
        self.out, self.err = self.capsys.readouterr()
        return code

    def load(self, *arguments: str) -> list[Any]:
        """Run, which must succeed; the ids that the destination has then."""
        assert self.run(*arguments) == 0, self.out + self.err
        return self.ids()

    def ids(self) -> list[Any]:
        return self.place.column("t", "id")

    def quarantined(self) -> list[tuple[str, str]]:
        """Of what waits: the last part of its origin, and why."""
        table = self.place.from_clause("_millstream_quarantine")
        rows = self.place.query(f"SELECT origin, detail FROM {table} ORDER BY 1")
        return [(str(row[0]).rpartition("/")[2], row[1]) for row in rows]


@dataclass
class Page:
    """What a web server answers for one path."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    has_length: bool = True


class FileServer(ThreadingHTTPServer):
    """Serves `pages` by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.requests: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        page = self.server.pages.get(self.path)
        self.send_response(200 if page else 404)
        if page is None:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.has_length:
            self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page.body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
