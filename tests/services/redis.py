"""A real Redis server, from the system's packages."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from services import accepts, free_port, missing, wait_for


@contextmanager
def running() -> Iterator[str]:
    """Start a server that keeps nothing on disk; its URL, without a database."""
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server is not installed")
    folder = tempfile.mkdtemp(prefix="millstream-redis-")
    port = free_port()
    options = f"--bind 127.0.0.1 --port {port} --appendonly no --dir {folder}".split()
    server = subprocess.Popen([program, *options, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts(port), seconds=30, what="Redis")
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
