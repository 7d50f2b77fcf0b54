"""Single changes are accepted, or their load dies: each command says what holds by then."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.places import NAME, Place, duckdb, postgres
from services.processes import millstream, python_code

Row = dict[str, Any]


class Shop:
    """Files that are loaded by the command line, in a process for each command."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.project
        self._files = 0

    def write(self, *rows: Row | str) -> None:
        self._files += 1
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (self.folder / f"{self._files}.jsonl").write_text("\n".join(lines) + "\n")

    def call(self, *words: str) -> tuple[int, str]:
        done = millstream(self.folder, *words)
        return done.returncode, done.stdout + done.stderr

    def changes(self) -> dict[str, Row]:
        """What `schema diff` shows, by kind and column."""
        done = millstream(self.folder, "schema", "diff", "--json")
        return {f"{each['kind']} {each['column']}": each for each in json.loads(done.stdout)[NAME]}


@pytest.fixture(
    params=[
        "duckdb",
        pytest.param("postgres", marks=[pytest.mark.xdist_group("postgres"), pytest.mark.nightly]),
    ]
)
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    place = (
        duckdb(tmp_path)
        if request.param == "duckdb"
        else postgres(tmp_path, request.getfixturevalue("postgres_server"), monkeypatch.setenv)
    )
    (tmp_path / "pyproject.toml").touch()
    attributes = {
        "name": NAME,
        "source": {"type": "files", "streams": {NAME: {"path": "*.jsonl", "primary_key": "id"}}},
        "destination": dict(place.destination),
    }
    (tmp_path / "defs.yaml").write_text(
        json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    )
    return Shop(place)


def rows(first: int, **more: Any) -> list[Row]:
    return [
        {
            "id": n,
            "mail": f"u{n}@x",
            "size": n,
            "tags": [f"t{n}"],
            **{k: f(n) for k, f in more.items()},
        }
        for n in range(first, first + 100)
    ]


def contact(found: list[Row]) -> list[Row]:
    return [{"contact" if k == "mail" else k: v for k, v in row.items()} for row in found]


def test_one_change_of_the_source_is_accepted_alone(shop: Shop) -> None:
    shop.write(*rows(0))
    assert shop.call("run")[0] == 0
    shop.write(*contact(rows(0, size=lambda n: {"n": n})))
    made = shop.changes()
    rename, reshaped = made["column_renamed mail"], made["became_object size"]

    code, said = shop.call(
        "schema", "accept", "--from-source", "--change", "beef", "--change", rename["id"]
    )
    assert code == 1
    assert "no such change is pending: beef; nothing was accepted" in said
    assert shop.changes()["column_renamed mail"]["action"] == "hold"

    code, said = shop.call("schema", "accept", "--from-source", "--change", rename["id"])
    assert (code, said.count("accepted  ")) == (0, 1)
    assert "the next run goes on" not in said
    assert "shop: the next run will be held: 1 schema change must be accepted" in said
    now = shop.changes()
    assert now["column_renamed mail"]["reason"] == "accepted"
    assert now["became_object size"]["action"] == "hold"

    code, said = shop.call("run")
    assert code == 1
    assert "held: 1 schema change must be accepted first" in said
    code, said = shop.call("schema", "accept", "--change", reshaped["id"])
    assert (code, said.count("accepted  ")) == (0, 1)
    assert shop.call("run")[0] == 0


def test_a_held_change_stays_held_without_its_own_acceptance(shop: Shop) -> None:
    shop.write(*rows(0))
    assert shop.call("run")[0] == 0
    shop.write(*contact(rows(0, size=lambda n: {"n": n}, tags=lambda n: f"t{n}", id=lambda n: n)))
    assert shop.call("run")[0] == 1
    held = [each["id"] for each in shop.changes().values() if each["action"] == "hold"]
    assert len(held) == 3
    for number, id_ in enumerate(held, start=1):
        code, said = shop.call("run")
        assert code == 1
        left = len(held) - number + 1
        assert re.search(rf"held: {left} schema changes? must be accepted first", said), said
        code, said = shop.call("schema", "accept", "--change", "beef", "--change", id_)
        assert (code, "nothing was accepted" in said) == (1, True)
        assert shop.call("schema", "accept", "--change", id_)[0] == 0
    assert shop.call("run")[0] == 0


DIES = """
import os, signal, sys
from millstream.cli import main
from millstream.runs.stages import loading

loading._send = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(["run", sys.argv[1]])
"""


@pytest.mark.nightly
def test_a_load_that_died_is_in_no_log_yet(shop: Shop) -> None:
    shop.write(*rows(0))
    assert shop.call("run")[0] == 0
    before = shop.call("schema", "log")
    shop.write(*rows(100, arrived_late=str))
    ahead = shop.call("schema", "diff", "--fail-on", "safe")
    assert python_code(DIES, str(shop.folder), folder=shop.folder).returncode == -9

    assert shop.call("schema", "log") == before
    assert shop.call("schema", "diff", "--fail-on", "safe") == ahead
    assert shop.call("report")[0] == 0
    assert "arrived_late" not in (shop.folder / "report.html").read_text()

    assert shop.call("run")[0] == 0
    assert shop.call("schema", "log")[1].count("new column `arrived_late`") == 1
    said = shop.call("schema", "log", "--limit", "1")[1]
    assert (len(said.splitlines()), "2 earlier changes omitted: --limit 0" in said) == (2, True)
    assert shop.call("report")[0] == 0
    assert "arrived_late" in (shop.folder / "report.html").read_text()


def test_a_stream_that_never_loaded_is_in_the_report(shop: Shop) -> None:
    shop.write({"id": 1, "rates": {f"{n:08x}": {"n": n, "of": [n]} for n in range(60)}})
    assert shop.call("run")[0] == 1
    assert shop.call("report")[0] == 0
    page = (shop.folder / "report.html").read_text()
    assert "1 row not loaded: 1 schema change must be accepted" in re.sub(r"<[^>]+>", "", page)

    # what is held is read again once the configuration names its object
    definition = shop.folder / "defs.yaml"
    document = json.loads(definition.read_text())
    document["attributes"]["maps"] = {NAME: ["rates"]}
    definition.write_text(json.dumps(document))
    assert shop.call("schema", "pending") == (0, "no changes are pending\n")
    assert "the next run reads its rows again" in shop.call("pending", "list")[1]
    code, said = shop.call("schema", "diff", "--fail-on", "risky")
    assert (code, "new table `shop__rates` below `shop`" in said) == (0, True)
    assert shop.call("run")[0] == 0
    assert shop.place.count("shop__rates") == 60


@pytest.mark.nightly
def test_a_bad_line_of_a_file_that_is_read_again_waits_once(shop: Shop) -> None:
    lines = [*(json.dumps(row) for row in rows(0)), "{", '{"id": 1, "id": 2}']
    file = shop.folder / "grows.jsonl"
    file.write_text("\n".join(lines) + "\n")
    code, said = shop.call("run")
    assert (code, "2 rows in quarantine" in said) == (0, True)

    lines[-1] = json.dumps({"id": 500})
    lines += [json.dumps(row) for row in rows(200)]
    file.write_text("\n".join(lines) + "\n")
    code, said = shop.call("run")
    assert (code, "from quarantine: 2 read again" in said) == (0, True)
    assert "1 row in quarantine" in said
    assert shop.call("quarantine", "list")[1].count("unreadable") == 1
    assert shop.place.count(NAME) == 201

    lines[lines.index("{")] = json.dumps({"id": 501})
    file.write_text("\n".join(lines) + "\n")
    assert shop.call("run")[0] == 0
    assert shop.call("quarantine", "list") == (0, "the quarantine is empty\n")
    assert shop.place.count(NAME) == 202

    # such a load is one of the source: what changed in it is told
    renamed = contact([json.loads(line) for line in lines])
    file.write_text("".join(json.dumps(row) + "\n" for row in renamed) + "{\n")
    code, said = shop.call("run")
    assert (code, "a likely rename" in said) == (1, True)


def test_a_refused_row_of_a_file_that_is_read_again(shop: Shop) -> None:
    """Its file says what became of it: corrected, taken out, or as bad as it was."""
    file = shop.folder / "grows.jsonl"
    bad = [{"note": "no key"}, {"id": None}, {"id": "x"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows(0), *bad]))
    shop.write({"id": 900}, {"id": None, "note": "of another file"})
    code, said = shop.call("run")
    assert (code, "4 rows in quarantine" in said) == (0, True)

    bad = [{"id": 501, "note": "no key"}, {"id": "x"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows(0), *bad]))
    code, said = shop.call("run")
    assert (code, "from quarantine: 3 read again" in said) == (0, True)
    assert "1 row in quarantine" in said
    listed = json.loads(shop.call("quarantine", "list", "--json")[1])
    assert {each["origin"].rpartition("/")[2] for each in listed} == {"1.jsonl", "grows.jsonl"}
    assert sorted(each["document"] for each in listed) == [
        '{"id":"x"}',
        '{"id":null,"note":"of another file"}',
    ]
    assert shop.place.count(NAME) == 102


@pytest.mark.nightly
def test_times_are_those_of_utc_on_every_machine(shop: Shop) -> None:
    shop.write(*rows(0), "{")
    assert shop.call("run")[0] == 0

    def said(zone: str) -> list[str]:
        return [
            millstream(shop.folder, *words, environment={"TZ": zone}).stdout
            for words in (("schema", "log"), ("quarantine", "list"))
        ]

    assert said("America/New_York") == said("Asia/Tokyo") == said("UTC")


def test_a_held_replay_that_is_refused_waits_in_quarantine(shop: Shop) -> None:
    shop.write(*rows(0), {"id": None})
    assert shop.call("run")[0] == 0
    (entry,) = json.loads(millstream(shop.folder, "quarantine", "list", "--json").stdout)
    row = json.dumps({"id": 7, "size": {"n": 7}})
    code, said = shop.call("quarantine", "replay", "--id", entry["id"], "--row", row)
    assert (code, "drops the package, and its rows go on waiting in quarantine" in said) == (
        1,
        True,
    )
    code, said = shop.call("schema", "reject", "--stream", NAME)
    assert said.endswith("of shop; its rows go on waiting in quarantine\n")
    assert entry["id"] in shop.call("quarantine", "list")[1]
    code, said = shop.call("run")
    assert (code, "nothing new to load" in said) == (0, True)


@pytest.mark.nightly
def test_a_refused_full_refresh_is_read_by_another_one(shop: Shop) -> None:
    shop.write(*rows(0))
    assert shop.call("run")[0] == 0
    (shop.folder / "1.jsonl").unlink()
    shop.write(*contact(rows(0)))
    again = "only another full refresh reads all of its rows again"
    code, said = shop.call("run", "--full-refresh")
    assert (code, f"drops the package, and {again}" in said) == (1, True)
    assert shop.call("schema", "reject", "--stream", NAME)[1].endswith(f"of shop; {again}\n")


def test_of_a_stream_that_is_replaced_only_the_last_read_waits(shop: Shop) -> None:
    definition = shop.folder / "defs.yaml"
    document = json.loads(definition.read_text())
    document["attributes"]["source"] = {"type": "dlt", "path": "whole:shop"}
    definition.write_text(json.dumps(document))
    code = (
        "import dlt, json\n@dlt.resource(primary_key='id', write_disposition='replace')\n"
        "def shop():\n    yield json.load(open('rows.json'))\n"
    )
    (shop.folder / "whole.py").write_text(code)
    source = shop.folder / "rows.json"
    source.write_text(json.dumps([{"id": 1}, {"id": None}, {"id": None, "n": 2}]))
    for _ in range(2):
        assert shop.call("run")[0] == 0
        assert shop.call("quarantine", "list")[1].count("refused") == 2

    source.write_text(json.dumps([{"id": 1}]))
    assert shop.call("run")[0] == 0
    assert shop.call("quarantine", "list") == (0, "the quarantine is empty\n")
    assert shop.call("quarantine", "list", "--all")[1].count("superseded") == 4


@pytest.mark.nightly
def test_a_pipeline_without_history_says_why_it_has_no_report(shop: Shop) -> None:
    definition = shop.folder / "defs.yaml"
    document = json.loads(definition.read_text())
    document["attributes"]["history"] = False
    definition.write_text(json.dumps(document))
    shop.write(*rows(0))
    assert shop.call("run")[0] == 0
    code, said = shop.call("report")
    assert (code, "since defs.yaml has `history: false`" in said) == (1, True)


def test_what_is_held_of_a_partition_has_its_key(shop: Shop) -> None:
    definition = shop.folder / "defs.yaml"
    document = json.loads(definition.read_text())
    keys = {"type": "static", "field": "region", "values": ["EU 1", "2024-01-31"]}
    document["attributes"]["partitions"] = keys
    definition.write_text(json.dumps(document))
    shop.write(*rows(0, region=lambda n: "EU 1"))
    assert shop.call("run", "--partition", "EU 1")[0] == 0
    shop.write(*rows(100, region=lambda n: "2024-01-31", size=lambda n: {"n": n}))
    assert shop.call("run", "--partition", "2024-01-31")[0] == 1
    for words in (("schema", "pending"), ("pending", "list"), ("doctor",)):
        assert f"{NAME} [2024-01-31]" in shop.call(*words)[1]
    said = shop.call("schema", "reject", "--stream", NAME)[1]
    assert f"of {NAME} [2024-01-31]; the next run reads its rows again" in said
