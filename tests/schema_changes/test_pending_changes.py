"""Changes that wait: seen, accepted and refused, by the command line; each statement is right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import main
from millstream.config import read_pipeline
from services.mongod import Mongod
from services.places import NAME, Place, duckdb, postgres

Document = dict[str, Any]


def documents(first: int, change: Callable[[Document], Document] = dict) -> list[Document]:
    return [
        change({"_id": n, "email": f"u{n}@example.org", "tags": [{"t": f"t{n}"}]})
        for n in range(first, first + 200)
    ]


def contact(row: Document) -> Document:
    return {"contact" if name == "email" else name: value for name, value in row.items()}


class Shop:
    """A MongoDB collection that is loaded whole, by the command line."""

    def __init__(self, place: Place, collection: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self.collection = collection
        self._capsys = capsys

    def write(self, rows: list[Document]) -> None:
        self.collection.drop()
        self.collection.insert_many(rows)

    def call(self, *words: str) -> tuple[int, str]:
        """The exit code, and what was printed and complained of."""
        code = main([*words[:2], str(self.place.project), *words[2:]])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def report(self) -> str:
        """The text of the report's page, without its markup."""
        file = self.place.project / "report.html"
        assert main(["report", str(self.place.project), "--output", str(file)]) == 0
        self._capsys.readouterr()
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", file.read_text()))

    def run(self) -> tuple[int, str]:
        return self.call("run")


@pytest.fixture(
    params=[
        "duckdb",
        pytest.param("postgres", marks=[pytest.mark.xdist_group("postgres"), pytest.mark.nightly]),
    ]
)
def shop(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mongodb_server: Mongod,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    place = (
        duckdb(tmp_path)
        if request.param == "duckdb"
        else postgres(tmp_path, request.getfixturevalue("postgres_server"), monkeypatch.setenv)
    )
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    database = f"pending_{request.param}"
    source = {"type": "mongodb", "databases": [database], "collections": ["orders"]}
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "defs.yaml").write_text(
        json.dumps(
            {
                "type": "millstream.Pipeline",
                "attributes": {
                    "name": NAME,
                    "source": source,
                    "destination": dict(place.destination),
                },
            }
        )
    )
    with mongodb_server.client() as client:
        client.drop_database(database)
        yield Shop(place, client[database]["orders"], capsys)


RENAME = (
    "`email` is gone and `contact` came, a likely rename: about 100% of its values were in `email`"
)


def test_a_rename_is_refused_then_accepted(shop: Shop) -> None:
    shop.write(documents(0))
    for _ in range(2):
        assert shop.run()[0] == 0
        assert shop.call("schema", "diff") == (0, "shop.orders: no changes\n")

    shop.write(documents(0, contact))
    code, ahead = shop.call("schema", "diff", "--fail-on", "breaking")
    assert code == 12
    assert RENAME in ahead
    code, said = shop.run()
    assert code == 1
    assert RENAME in said
    assert shop.call("schema", "diff", "--fail-on", "breaking") == (12, ahead)

    code, said = shop.call("schema", "pending")
    assert "held         orders  200 rows\n    1 schema change must be accepted\n" in said
    assert RENAME in said
    assert "accept: millstream schema accept --stream orders" in said
    assert "refuse: millstream schema reject --stream orders" in said
    code, said = shop.call("pending", "list")
    assert "held         orders  200 rows" in said
    code, said = shop.call("doctor")
    assert code == 1
    assert "failed  pending      orders: held: 1 schema change must be accepted" in said

    page = shop.report()
    assert "orders__tags __tags 4 columns, 200 rows" in page
    assert "200 rows not loaded: 1 schema change must be accepted" in page
    assert page.count(": not loaded") == 2, "in both plots"

    code, said = shop.call("schema", "reject", "--stream", "orders")
    assert re.fullmatch(r"dropped \S+ of orders; the next run reads its rows again\n", said)
    assert shop.call("schema", "reject", "--stream", "orders") == (0, "no changes are pending\n")
    assert shop.call("schema", "pending") == (0, "no changes are pending\n")
    assert shop.place.count("orders") == 200
    assert shop.run()[0] == 1, "the source still has it"

    code, said = shop.call("schema", "accept")
    assert said.count("accepted  ") == 2
    assert shop.call("schema", "accept") == (0, "no changes are pending\n")
    assert shop.call("schema", "pending") == (0, "no changes are pending\n")
    assert (
        "accepted     orders  200 rows\n    the next run loads it"
        in shop.call("pending", "list")[1]
    )
    code, said = shop.call("schema", "diff", "--fail-on", "safe")
    assert code == 0, "all of it is accepted"
    assert RENAME in said

    code, said = shop.run()
    assert code == 0
    assert "orders              200       200" in said, "read again, and replaced"
    assert RENAME in said
    assert "no longer arrives" not in said
    assert "unlike recent loads" not in said
    assert "primary key" in (shop.place.project / "schema.yaml").read_text()
    log = shop.call("schema", "log")[1].splitlines()
    assert [line.split()[2:4] for line in log] == [
        ["safe", "allow"],
        ["safe", "allow"],
        ["safe", "accepted"],
        ["breaking", "accepted"],
    ]

    page = shop.report()
    assert "orders__tags __tags 4 columns, 200 rows" in page, "not those of every load"
    assert "not loaded" not in page
    assert f"breaking orders {RENAME.replace('`', ' ').strip()}".replace("  ", " ") in page

    code, said = shop.run()
    assert (code, "no schema changes" in said) == (0, True)
    assert shop.call("schema", "diff") == (0, "shop.orders: no changes\n")


@pytest.mark.nightly
def test_a_rename_back_is_held_too(shop: Shop) -> None:
    """No schema shows it, since both names are in it: it is accepted where its package waits."""
    shop.write(documents(0))
    assert shop.run()[0] == 0
    shop.write(documents(0, contact))
    assert shop.call("schema", "accept", "--from-source")[0] == 0
    assert shop.run()[0] == 0

    shop.write(documents(0))
    back = RENAME.replace("email", "-").replace("contact", "email").replace("-", "contact")
    back = back.replace("came,", "came back,")
    code, said = shop.call("schema", "diff")
    assert (code, back in said) == (12, True)
    code, said = shop.call("schema", "accept", "--from-source")
    assert (code, said.startswith("not accepted")) == (0, True)
    assert "no schema shows it; accept it once a run is held" in said
    assert shop.run()[0] == 1
    code, said = shop.call("schema", "accept")
    assert said.endswith("\nnoted beside what is held on this machine; the next run goes on\n")
    code, said = shop.run()
    assert (code, back in said) == (0, True)
    for _ in range(2):
        code, said = shop.run()
        assert "no schema changes" in said
        assert "unlike recent loads" not in said
    assert shop.call("schema", "diff") == (0, "shop.orders: no changes\n")
    assert shop.place.query(
        f"SELECT COUNT(email), COUNT(contact) FROM {shop.place.from_clause('orders')}"
    ) == [(200, 0)]


def test_a_refused_change_that_the_source_takes_back(shop: Shop) -> None:
    shop.write(documents(0))
    assert shop.run()[0] == 0
    shop.write(documents(0, contact))
    assert shop.run()[0] == 1
    shop.call("schema", "reject", "--stream", "orders")
    shop.write(documents(0))
    code, said = shop.run()
    assert (code, "no schema changes" in said) == (0, True)


def test_accept_from_the_source_keeps_the_key(shop: Shop) -> None:
    shop.write(documents(0))
    assert shop.run()[0] == 0
    before = (shop.place.project / "schema.yaml").read_text()
    code, said = shop.call("schema", "accept", "--from-source")
    assert (code, said) == (0, "no changes are pending\n")
    assert (shop.place.project / "schema.yaml").read_text() == before

    shop.write(documents(0, contact))
    code, said = shop.call("schema", "accept", "--from-source")
    assert said.count("accepted  ") == 2
    assert "_id: bigint, not null, primary key" in (shop.place.project / "schema.yaml").read_text()
    code, said = shop.call("schema", "diff", "--fail-on", "safe")
    assert (code, said.count("  accepted  ")) == (0, 2), "the next run makes both"
    assert shop.run()[0] == 0, "accepted ahead"
    assert shop.call("schema", "diff") == (0, "shop.orders: no changes\n")


def test_without_its_destination_a_diff_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "defs.yaml").write_text(
        "type: millstream.Pipeline\n"
        "attributes:\n"
        "  name: shop\n"
        "  source: {type: files, streams: {orders: {path: rows.jsonl}}}\n"
        "  destination: {type: postgres}\n"
    )
    monkeypatch.setenv(
        "DESTINATION__POSTGRES__CREDENTIALS", "postgresql://nobody:secret@127.0.0.1:9/none"
    )
    assert main(["schema", "diff", str(tmp_path)]) == 1
    assert "--offline" in capsys.readouterr().err
    assert main(["schema", "diff", str(tmp_path), "--offline", "--fail-on", "breaking"]) == 0
    assert "new table `orders`" in capsys.readouterr().out
    assert main(["schema", "accept", str(tmp_path), "--from-source", "--offline"]) == 0
    assert read_pipeline(tmp_path).folder == tmp_path
    assert "id: bigint" in (tmp_path / "schema.yaml").read_text()
