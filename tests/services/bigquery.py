"""The BigQuery emulator `local-bigquery`, in an environment of its own.

It proves that what is sent is valid and lands where it should, not the limits or permissions of the
real BigQuery: it enforces none.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from services import accepts, environments, free_port, missing, wait_for

PROJECT = "test"
DUCKDB = "1.5.5"
PACKAGES = [
    "local-bigquery==0.4.0",
    f"duckdb-extensions=={DUCKDB}",
    f"duckdb-extension-icu=={DUCKDB}",
    f"duckdb-extension-ducklake=={DUCKDB}",
    f"duckdb-extension-spatial=={DUCKDB}",
]


@dataclass
class BigQuery:
    """A running emulator, and the credentials under which dlt finds it."""

    port: int
    token_port: int

    @cached_property
    def credentials(self) -> str:
        """A service account with a throw-away key, whose tokens come from this process."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "client_email": "loader@test.example",
                "private_key": new_key(),
                "token_uri": f"http://127.0.0.1:{self.token_port}/token",
            }
        )

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "BIGQUERY_EMULATOR_HOST": f"http://127.0.0.1:{self.port}",
            "DESTINATION__BIGQUERY__CREDENTIALS": self.credentials,
            # Google's library asks a server of Google's about each service account; nothing of a
            # test leaves this machine
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        client = bigquery.Client(
            PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=f"http://127.0.0.1:{self.port}"),
        )
        with client:
            return [tuple(row.values()) for row in client.query(sql).result()]


@contextmanager
def running() -> Iterator[BigQuery]:
    """Install the emulator on first use, start it with no data, stop it in the end."""
    python = environments.python_with(
        "local-bigquery-0.4.0", PACKAGES, base=_python, override=f"duckdb=={DUCKDB}"
    )
    folder = Path(tempfile.mkdtemp(prefix="millstream-bigquery-"))
    log = (folder / "log").open("wb")
    port = free_port()
    launcher = Path(__file__).with_name("bigquery_launcher.py")
    process = subprocess.Popen(
        [python, launcher, str(port), str(free_port()), folder / "data"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the emulator ended:\n{(folder / 'log').read_text()[-2000:]}")
            return accepts(port)

        wait_for(ready, seconds=240, what="the BigQuery emulator")
        with _token_endpoint() as token_port:
            emulator = BigQuery(port, token_port)
            emulator.query("SELECT 1")  # the first one takes it seconds
            yield emulator
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def new_key() -> str:
    """A private RSA key in PEM, good for nothing."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


@contextmanager
def _token_endpoint() -> Iterator[int]:
    """What Google's OAuth server is to the real BigQuery."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps(
                {"access_token": "local", "expires_in": 3600, "token_type": "Bearer"}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _python() -> str:
    """A Python >= 3.13, which the emulator needs, whatever Python the tests run on."""
    candidates = [sys.executable, *(shutil.which(f"python3.{minor}") for minor in (13, 14, 15))]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += [str(path) for path in sorted(pyenv.glob("3.1[3-9]*/bin/python"))]
    found = subprocess.run(
        [*environments.uv(), "python", "find", "--no-python-downloads", ">=3.13"],
        capture_output=True,
        text=True,
        check=False,
    )
    candidates.append(found.stdout.strip())
    for candidate in filter(None, candidates):
        # a shim of pyenv's is there for versions that are not active, and fails
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info >= (3, 13))"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == "True":
            return candidate
    return missing("the BigQuery emulator needs a Python >= 3.13")
