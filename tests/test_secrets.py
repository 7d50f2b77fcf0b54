"""Marked secrets, and everything that was written looked through for the marks."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from parts.postgres import Postgres

MARKS = {
    "password": "m4rk/pass+word=1",
    "token": "ghp_m4rkm4rkm4rkm4rk1234567890abcdefghij",
    "hook": "m4rk-hook-path",
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
def test_nothing_that_is_written_holds_a_secret(
    source: str, destination: str, ends: int, tmp_path: Path, postgres_server: Postgres
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "orders.jsonl").write_text('{"id": 1, "tags": ["a"]}\n')
    (tmp_path / "defs.yaml").write_text(DEFS.format(source=source, destination=destination))
    url = postgres_server.url("postgres", password=MARKS["password"])
    environment = {
        **os.environ,
        "DESTINATION__POSTGRES__CREDENTIALS": url,
        "GITHUB_TOKEN": MARKS["token"],
        "HOOK": f"http://127.0.0.1:9/{MARKS['hook']}?key={MARKS['hook']}",
        "RUNTIME__LOG_LEVEL": "DEBUG",
    }
    said = b""
    for command in (["run", "--json"], ["run", "--debug"], ["doctor", "--json"]):
        if command[0] == "run" and source is GITHUB and "--debug" in command:
            continue  # each waits for its retries; one is enough
        done = subprocess.run(
            [sys.executable, "-m", "millstream", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
        )
        assert done.returncode == ends, done.stderr.decode()[-2000:]
        said += done.stdout + done.stderr
    assert leaks(tmp_path, said) == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" + base64.b64encode(b'{"p": "m4rk/pass+word=1"}'))
    (tmp_path / "b").write_text("postgresql://u:m4rk%2Fpass%2Bword%3D1@h/d")
    assert sorted(leaks(tmp_path, b"ghp_m4rkm4rkm4rkm4rk1234567890abcdefghij")) == [
        "password in a",
        "password in b",
        "token in said",
    ]
