"""GitHub's issues change between loads into PostgreSQL: each kind of change is told and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import main
from millstream.demo.github_server import GitHubServer
from services.places import NAME, postgres
from services.postgres import Postgres
from sources.github_kit import issue

pytestmark = pytest.mark.xdist_group("postgres")


def test_each_kind_of_change(
    tmp_path: Path,
    postgres_server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = postgres(tmp_path, postgres_server, monkeypatch.setenv)
    (tmp_path / "pyproject.toml").touch()

    def call(*words: str) -> tuple[int, str]:
        code = main([*words, "--debug"] if words == ("run",) else [*words])
        said = capsys.readouterr()
        return code, said.out + said.err

    def load(rows: list[dict[str, Any]], command: tuple[str, ...] = ("run",)) -> tuple[int, str]:
        with GitHubServer({"a/b": {"issues": rows}}) as server:
            attributes = {
                "name": NAME,
                "source": {"type": "github", "repositories": ["a/b"], "base_url": server.url},
                "destination": dict(place.destination),
            }
            document = {"type": "millstream.Pipeline", "attributes": attributes}
            (tmp_path / "defs.yaml").write_text(json.dumps(document))
            return call(*command)

    monkeypatch.chdir(tmp_path)

    def row(number: int, year: int, **more: Any) -> dict[str, Any]:
        return {**issue(number, f"{year}-01-01T00:00:00Z"), **more}

    numbers = range(1, 101)
    first = [row(n, 2021, node=f"N{n}", weight=n, teams=[f"t{n}"], kind=f"k{n}") for n in numbers]
    code, said = load(first)
    assert code == 0, said
    assert "new table `issues__teams` below `issues`" in said

    changed = [
        row(n, 2022, identifier=f"N{n}", weight=n if n % 4 else f"{n} kg", kind={"name": "x"}, at=n)
        for n in numbers
    ]
    code, ahead = load(changed, ("schema", "diff"))
    assert code == 12
    for change in (
        "safe      allow       issues: new column `at` (bigint)",
        "breaking  hold        issues: `node` is gone and `identifier` came, a likely rename: 100%",
        "breaking  hold        issues: `kind` was text, now it is also an object",
        "risky     warn        issues: `weight`: bigint, now also text in 25% of rows",
        "risky     warn        issues: the list `teams` no longer arrives: in none of 100 rows",
    ):
        assert change in ahead
    assert load(changed)[0] == 1
    assert place.query(f"SELECT COUNT(node) FROM {place.from_clause('issues')}") == [(100,)]

    assert call("schema", "accept")[0] == 0
    code, said = load(changed)
    assert code == 0, said
    assert "unlike recent loads" not in said
    assert place.query(
        "SELECT COUNT(identifier), COUNT(weight), COUNT(weight__v_text), COUNT(at), "
        f"COUNT(kind__name), COUNT(*) FROM {place.from_clause('issues')}"
    ) == [(100, 75, 25, 100, 100, 100)]
    assert place.count("issues__teams") == 0
    assert load(changed, ("schema", "diff")) == (0, f"{NAME}.issues: no changes\n")
