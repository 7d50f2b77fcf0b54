"""Marked secrets, and everything that was written looked through for the marks."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from millstream.cli import main
from services.postgres import Postgres
from services.processes import millstream

MARKS = {
    "password": "m4rk/pass+word=1",
    "token": "ghp_m4rkm4rkm4rkm4rk1234567890abcdefghij",
    "hook": "m4rk-hook-path",
    "mail": "m4rk mail pass/word",
    "mongo": "m4rk:mongo@pass",
    "key": "m4rkm4rkprivatekeym4rk",
}

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source:
    type: {source}
  destination: {{type: {destination}}}
  alerts:
    - {{type: webhook, url_from: HOOK, at_least: safe}}
"""
FILES = "files\n    streams: {orders: {path: orders.jsonl}}"
GITHUB = "github\n    repositories: [octo/hello]\n    base_url: http://127.0.0.1:9"


def forms(secret: str) -> set[bytes]:
    """The secret as it may be written; base64 at each of the three offsets in a longer text."""
    plain = secret.encode()
    found = {plain, quote(secret, safe="").encode(), quote(secret).encode()}
    for before in range(3):
        packed = base64.b64encode(b" " * before + plain)
        found.add(packed[4 if before else 0 : len(packed) - 4])
    return found


def leaks(folder: Path, said: bytes) -> list[str]:
    written = {"said": said}
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "m4rks.env":
            written[str(file.relative_to(folder))] = file.read_bytes()
    assert len(written) > 1
    return [
        f"{name} in {where}"
        for name, secret in MARKS.items()
        for where, text in written.items()
        if any(form in text for form in forms(secret))
    ]


@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize(
    ("source", "destination", "ends"),
    [(FILES, "duckdb", 0), (FILES, "postgres", 1), (GITHUB, "duckdb", 1)],
    ids=["loads", "password refused", "github unreachable"],
)
@pytest.mark.nightly_on("github unreachable")
def test_nothing_that_is_written_holds_a_secret(
    source: str, destination: str, ends: int, tmp_path: Path, postgres_server: Postgres
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "orders.jsonl").write_text('{"id": 1, "tags": ["a"]}\n')
    (tmp_path / "defs.yaml").write_text(DEFS.format(source=source, destination=destination))
    url = postgres_server.url("postgres", password=MARKS["password"])
    environment = {
        "DESTINATION__POSTGRES__CREDENTIALS": url,
        "GITHUB_TOKEN": MARKS["token"],
        "HOOK": f"http://127.0.0.1:9/{MARKS['hook']}?key={MARKS['hook']}",
        "RUNTIME__LOG_LEVEL": "DEBUG",
    }
    said = b""
    for command in (["run", "--json"], ["run", "--debug"], ["doctor", "--json"]):
        if command[0] == "run" and source is GITHUB and "--debug" in command:
            continue  # each waits for its retries; one is enough
        done = millstream(tmp_path, *command, environment=environment)
        assert done.returncode == ends, done.stderr[-2000:]
        said += (done.stdout + done.stderr).encode()
    assert leaks(tmp_path, said) == []


@pytest.mark.parametrize(
    ("source", "destination", "variable"),
    [
        (FILES, "postgres", "DESTINATION__POSTGRES__CREDENTIALS"),
        ("sql_database\n    tables: [orders]", "duckdb", "DATABASE_URL"),
    ],
)
def test_a_password_that_is_not_percent_encoded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    destination: str,
    variable: str,
) -> None:
    """What comes after an `@` of its own is no host."""
    (tmp_path / "orders.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "defs.yaml").write_text(DEFS.format(source=source, destination=destination))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "postgresql://ann:p@m4rk@127.0.0.1:9/shop")
    for command in ("run", "doctor"):
        assert main([command]) == 1
        printed = "".join(capsys.readouterr())
        assert "can't be read" in printed
        assert "%40" in printed
        assert "m4rk" not in printed


def test_a_signed_url_is_told_without_its_signature(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is in defs.yaml, where who writes it puts it, and nowhere else."""
    served = tmp_path_factory.mktemp("served")
    (served / "a.jsonl").write_text('{"id": 1}\n{"id": null}\n{\n')
    (tmp_path / "pyproject.toml").touch()
    handler = partial(Quiet, directory=str(served))
    said = b""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, ends in (("a", 0), ("none", 1)):
            url = f"http://me:m4rkm4rkprivatekeym4rk@127.0.0.1:{server.server_port}/{name}.jsonl"
            path = f"{url}?sig={MARKS['hook']}&X-Amz-Signature={MARKS['key']}"
            source = f'files\n    streams: {{orders: {{path: "{path}", primary_key: id}}}}'
            text = DEFS.format(source=source, destination="duckdb").partition("  alerts")[0]
            (tmp_path / "defs.yaml").write_text(text)
            for command in (["run", "--debug"], ["doctor"], ["quarantine", "list", "--json"]):
                done = millstream(tmp_path, *command)
                assert done.returncode == (0 if command[0] == "quarantine" else ends), done.stderr
                said += (done.stdout + done.stderr).encode()
        server.shutdown()
    assert b'.jsonl, line 3"' in said
    (tmp_path / "defs.yaml").unlink()
    assert leaks(tmp_path, said) == []


class Quiet(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        return super().translate_path(path.partition("?")[0])

    def log_message(self, *args: object) -> None:
        pass


TOUR = """
import sys, json
from pathlib import Path
from millstream.cli import main

for command in json.loads(sys.argv[1]):
    print("#", *command, "->", main(command))

import dagster as dg
from millstream import assets
from millstream.config import read_pipeline

with dg.DagsterInstance.get() as instance:
    for name in sys.argv[2:]:
        loads = assets(read_pipeline(Path(name)))
        done = dg.materialize([loads], instance=instance, raise_on_error=False)
        print("# materialize", name, "->", 0 if done.success else 1)
"""

MAIL = """\
    - {type: email, at_least: safe, host: 127.0.0.1, port: 9, security: none, sender: a@b.example,
       to: [c@d.example], user_from: MAIL_USER, password_from: MAIL_PASSWORD}
"""
MONGO = "mongodb\n    collections: [orders]"

ENDS = {
    "run loads": 0,
    "run loads --json": 0,
    "run mongo": 1,
    "run mongo --debug": 1,
    "run bigquery": 1,
    "run bigquery --debug": 1,
    "doctor loads --json": 0,
    "doctor mongo --json": 1,
    "doctor bigquery": 1,
    "discover mongo": 1,
    "report loads": 0,
    "schema log loads --json": 0,
    "schema diff loads --json": 0,
    "quarantine list loads --json": 0,
    "materialize loads": 0,
    "materialize mongo": 1,
    "materialize bigquery": 1,
}


@pytest.mark.xdist_group("postgres")
def test_everything_that_there_is_to_run_writes_no_secret(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """Loads that succeed with the secrets, others that fail with them; by hand and in Dagster."""
    quoted = MARKS["password"].replace("'", "''")
    role, database = f"m4rk_{uuid4().hex[:8]}", postgres_server.new_database()
    postgres_server.query("postgres", f"CREATE ROLE {role} LOGIN PASSWORD '{quoted}'")
    postgres_server.query("postgres", f'GRANT ALL ON DATABASE "{database}" TO {role}')
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "dagster").mkdir()
    (tmp_path / "orders.jsonl").write_text('{"id": 1, "tags": ["a"]}\n{"id": }\n')
    for name, source, destination in (
        ("loads", FILES, "postgres"),
        ("mongo", MONGO, "duckdb"),
        ("bigquery", FILES, "bigquery"),
    ):
        (tmp_path / name).mkdir()
        text = DEFS.format(source=source, destination=destination) + MAIL
        (tmp_path / name / "defs.yaml").write_text(text.replace("name: shop", f"name: {name}"))
    account = {
        "type": "service_account",
        "project_id": "p",
        "client_email": "a@b.example",
        "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARKS['key']}\n-----END PRIVATE KEY-----\n",
        "token_uri": "http://127.0.0.1:9/token",
    }
    user = f"{quote('m4rk-user')}:{quote(MARKS['mongo'], safe='')}"
    commands = [each.split() for each in ENDS if not each.startswith("materialize")]
    done = subprocess.run(
        [sys.executable, "-c", TOUR, json.dumps(commands), "loads", "mongo", "bigquery"],
        cwd=tmp_path,
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "DESTINATION__POSTGRES__CREDENTIALS": postgres_server.url(
                database, user=role, password=MARKS["password"]
            ),
            "DESTINATION__BIGQUERY__CREDENTIALS": json.dumps(account),
            "MONGODB_URI": f"mongodb://{user}@127.0.0.1:9/shop?serverSelectionTimeoutMS=200",
            "HOOK": f"http://127.0.0.1:9/{MARKS['hook']}?key={MARKS['hook']}",
            "MAIL_USER": "m4rk",
            "MAIL_PASSWORD": MARKS["mail"],
            "RUNTIME__LOG_LEVEL": "DEBUG",
        },
        capture_output=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said.decode()[-2000:]
    ended = dict(re.findall(r"^# (.*) -> (\d+)$", done.stdout.decode(), re.MULTILINE))
    assert {name: int(code) for name, code in ended.items()} == ENDS, (
        done.stdout.decode()[-3000:] + done.stderr.decode().partition("nanobind")[0][-9000:]
    )
    assert (tmp_path / "dagster" / "history").is_dir()
    assert leaks(tmp_path, said) == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" + base64.b64encode(b'{"p": "m4rk/pass+word=1"}'))
    (tmp_path / "b").write_text("postgresql://u:m4rk%2Fpass%2Bword%3D1@h/d")
    assert sorted(leaks(tmp_path, b"ghp_m4rkm4rkm4rkm4rk1234567890abcdefghij")) == [
        "password in a",
        "password in b",
        "token in said",
    ]
