"""What the command line says of held, accepted and replayed rows, where it once said otherwise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import main
from services.places import NAME, Place, duckdb, postgres

Row = dict[str, Any]


class Shop:
    """Files that are loaded by the command line; each one written is a load's."""

    def __init__(self, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self._capsys = capsys
        self._files = 0

    def write(self, *lines: str | Row) -> None:
        self._files += 1
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        self.place.project.joinpath(f"{self._files}.jsonl").write_text("\n".join(texts) + "\n")

    def call(self, *words: str) -> tuple[int, str]:
        """The exit code, and what was printed and complained of, each line without its wraps."""
        sub = 2 if words[0] in ("schema", "quarantine") else 1
        code = main([*words[:sub], str(self.place.project), *words[sub:]])
        said = self._capsys.readouterr()
        return code, re.sub(r"\n {4}(?=\S)", " ", said.out) + said.err

    def load(self, *lines: str | Row) -> str:
        self.write(*lines)
        code, said = self.call("run")
        assert code == 0, said
        return said


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=pytest.mark.xdist_group("postgres")),
        pytest.param("duckdb", marks=pytest.mark.nightly),
    ]
)
def shop(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shop:
    place = (
        duckdb(tmp_path)
        if request.param == "duckdb"
        else postgres(tmp_path, request.getfixturevalue("postgres_server"), monkeypatch.setenv)
    )
    streams = {"orders": {"path": "*.jsonl", "primary_key": "id"}}
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "defs.yaml").write_text(
        json.dumps(
            {
                "type": "millstream.Pipeline",
                "attributes": {
                    "name": NAME,
                    "source": {"type": "files", "streams": streams},
                    "destination": dict(place.destination),
                },
            }
        )
    )
    return Shop(place, capsys)


def rows(first: int, count: int = 200, **fields: Any) -> list[Row]:
    """Rows whose note, size and tags are their own; a field that is None is left out."""
    return [
        {
            name: value
            for name, value in {
                "id": n,
                "note": f"note {n}",
                "size": n,
                "tags": [f"t{n}"],
                **{name: each(n) if each else None for name, each in fields.items()},
            }.items()
            if value is not None
        }
        for n in range(first, first + count)
    ]


def configure(shop: Shop, **attributes: Any) -> None:
    definition = shop.place.project / "defs.yaml"
    document = json.loads(definition.read_text())
    document["attributes"] |= attributes
    definition.write_text(json.dumps(document))


def set_rule(shop: Shop, action: str, *kinds: str) -> None:
    """Let the policy have one rule."""
    configure(shop, schema_policy={"rules": [{"action": action, "change": kinds}]})


def test_of_a_replay_nothing_is_concluded(shop: Shop) -> None:
    shop.load(*rows(0))
    said = shop.load(
        *rows(200), "{", '{"id": 1, "id": 2}', {"id": None}, {"id": "x"}, {"note": "no key"}
    )
    assert "2  orders: unreadable: the first: not JSON" in said
    assert "3  orders: refused: the first: null in `id`" in said

    code, said = shop.call("quarantine", "replay")
    assert code == 0
    assert said.count(": it can't be read: correct it with --row") == 2
    assert said.count(": its key `id` is not of type bigint: correct it with --row") == 1
    assert said.count(": its key `id` is missing: correct it with --row") == 1
    assert said.count(": its key `id` is null: correct it with --row") == 1

    found = json.loads(shop.call("quarantine", "list", "--json")[1])
    assert len(found) == 5
    corrected = json.dumps({"id": 1000, "broken": True})
    code, said = shop.call("quarantine", "replay", "--id", found[0]["id"], "--row", corrected)
    assert (code, "1 replayed" in said) == (0, True)

    # of one row that was corrected by hand, with a field of its own and none of the others
    said = shop.load(*rows(400))
    assert "no schema changes" in said
    assert "warning" not in said
    assert shop.call("schema", "diff") == (0, "shop.orders: no changes\n")
    page = shop.place.project / "report.html"
    assert shop.call("report", "--output", str(page))[0] == 0
    assert "200 rows in the newest load" in page.read_text()


def test_a_list_is_missed_of_the_loads_that_had_it(shop: Shop) -> None:
    shop.load(*rows(0))
    some = {"parcels": lambda n: [n] if n % 2 else None}
    shop.load(*rows(200, **some))
    said = shop.load(*rows(400))
    assert "the list `parcels` no longer arrives: in none of 200 rows, before in 50%" in said


def test_what_was_accepted_has_no_consequences_to_tell(shop: Shop) -> None:
    for first in (0, 200, 400):
        shop.load(*rows(first))
    shop.write(
        *rows(
            600,
            note=lambda n: {"text": f"note {n}", "by": {"name": "x"}},
            size=lambda n: f"{n} pcs" if n % 2 else n,
            tags=lambda n: f"t{n}",
        )
    )
    code, ahead = shop.call("schema", "diff")
    assert code == 12
    assert shop.call("run")[0] == 1

    id_ = re.findall(r"(\w+)  risky     warn        orders: `size`", ahead)[0]
    code, said = shop.call("schema", "accept", "--change", id_)
    assert "the next run goes on" not in said
    assert "orders is still held: 2 schema changes must be accepted" in said
    code, said = shop.call("schema", "accept")
    assert said.endswith("schema.yaml; the next run goes on\n")

    code, said = shop.call("run")
    assert code == 0
    assert "`note` was text, now it is also an object" in said
    assert "`tags` was" in said, said
    assert "`size`: bigint, now also text in 50% of rows" in said
    assert "no longer arrive" not in said
    assert "unlike recent loads" not in said
    assert "by the schema policy" not in said
    log = shop.call("schema", "log")[1]
    assert "no longer arrive" not in log
    assert "is null in" not in log

    said = shop.load(
        *rows(
            800,
            note=lambda n: {"text": f"note {n}", "by": {"name": "x"}},
            size=lambda n: f"{n} pcs" if n % 2 else n,
            tags=lambda n: f"t{n}",
        )
    )
    assert "no schema changes" in said
    assert "no longer arrive" not in said
    assert "unlike recent loads" not in said


@pytest.mark.nightly_on("postgres")
def test_keys_of_a_map_come_and_go(shop: Shop) -> None:
    """As columns, which people let in, and as rows, once `maps` names it."""

    def keyed(first: int, key: int, **more: Any) -> list[Row]:
        return [
            {**row, "rates": {f"{key + n % 24:08x}": {"n": row["id"], "of": [n]}}, **more}
            for n, row in enumerate(rows(first))
        ]

    set_rule(shop, "allow", "map_explosion", "column_added", "table_added")
    for first in (0, 200):
        shop.load(*keyed(first, 0))
    # the values that some keys had are those of others now
    shop.write(*keyed(200, 100))
    assert "gone" not in shop.call("schema", "diff")[1]
    code, said = shop.call("run")
    assert code == 0, said
    assert "49 schema changes" in said, "a map, of 24 columns and as many tables"
    assert "no longer arrive" not in said
    assert "warning" not in said
    assert "unlike recent loads" not in said

    configure(shop, maps={"orders": ["rates"]})
    shop.write(*keyed(600, 100))
    code, said = shop.call("run")
    assert code == 0, "who names a map wants its table: nothing is held"
    assert "was an object, now it is also a list" not in said
    assert "new table `orders__rates` below `orders`" in said
    assert "no longer arrive" not in said
    assert "unlike recent loads" not in said
    said = shop.load(*keyed(800, 200))
    assert "no schema changes" in said
    assert "no longer arrive" not in said
    assert "unlike recent loads" not in said

    def without(row: Row) -> Row:
        return {name: value for name, value in row.items() if name != "rates"}

    said = shop.load(*map(without, keyed(1200, 300)))
    # it was an object, and has been a list since: that alone is gone
    assert "1 schema change" in said
    assert "the object `rates` no longer arrives: in none of 200 rows, before in 100%" in said


def test_an_object_of_rare_fields_is_missed_as_a_whole(shop: Shop) -> None:
    """Each row has two of many fields; chance explains that a rare object is not there."""

    def fields(n: int) -> Row:
        return {f"f{(7 * n + 30 * i) % 60:02}": f"{n} {i}" for i in range(2)}

    def seldom(n: int) -> Row | None:
        return {"a": n, "b": n} if n % 50 == 1 else None

    def lists(n: int) -> Row | None:
        return {f"k{n % 24 // 2:02}": [n]} if n % 2 else None

    shop.load(*rows(0, extra=fields, seldom=seldom, lots=lists))
    shop.load(*rows(200, extra=fields, seldom=seldom, lots=lists))
    shop.write(*rows(400))
    gone = "`extra` and its 60 fields no longer arrive: in none of 200 rows, before in 100%"
    assert f"orders: {gone}" in shop.call("schema", "diff")[1]
    said = shop.load()
    of_lists = "`lots` and its 12 fields no longer arrive: in none of 200 rows, before in 50%"
    assert f"2 schema changes\n  orders\n  ! {gone}\n  ! {of_lists}" in said
    assert gone in shop.call("schema", "log")[1]
    assert "no schema changes" in shop.load(*rows(600))

    said = shop.load(*rows(800, extra=fields))
    assert "no schema changes" in said
    shop.write(*rows(800, more=fields))
    assert "`extra` with its 60 fields is gone and `more` came" in shop.call("schema", "diff")[1]


def test_a_replay_of_what_a_rule_keeps_out_is_no_change(shop: Shop) -> None:
    set_rule(shop, "quarantine", "variant_added", "became_object")
    shop.load(*rows(0))
    said = shop.load(
        *rows(
            200,
            size=lambda n: "x" if n % 20 == 0 else n,
            note=lambda n: {"a": n} if n % 20 == 5 else f"note {n}",
            tags=None,
        )
    )
    assert "20 rows in quarantine" in said
    assert "10  orders: policy: the first: `size`: bigint, now also text" in said
    assert "10  orders: policy: the first: `note` was text, now it is also an object" in said
    assert "1 schema change" in said, "the list that is gone, as `schema diff` counts"
    log = shop.call("schema", "log")
    code, said = shop.call("quarantine", "replay")
    assert (code, "from quarantine: 20 waiting" in said) == (0, True)
    assert shop.call("schema", "log") == log


def test_what_a_rule_keeps_out_of_a_held_package_is_told(shop: Shop) -> None:
    """By `schema diff` before and after, and by `schema pending`; nobody can accept it there."""
    set_rule(shop, "quarantine", "variant_added", "table_added")
    shop.load(*rows(0))
    bad = {"size": lambda n: n if n % 20 else "x", "more": lambda n: [n] if n % 40 == 5 else None}
    shop.write(*rows(200, note=lambda n: {"a": n}, **bad))
    before = shop.call("schema", "diff")
    assert ": new table `orders__more` below `orders`\n" in before[1]
    assert "risky     quarantine  orders: `size`: bigint, now also text" in before[1]
    assert shop.call("run")[0] == 1
    assert shop.call("schema", "diff") == before
    kept_out = next(line.strip() for line in before[1].splitlines() if "quarantine" in line)
    assert kept_out in shop.call("schema", "pending")[1]
    assert "`size`" not in shop.call("schema", "accept")[1]
    assert "15 rows in quarantine" in shop.call("run")[1]


def test_what_a_rule_keeps_out_is_accepted_from_the_source(shop: Shop) -> None:
    set_rule(shop, "quarantine", "variant_added", "became_object", "risky")
    shop.load(*rows(0))
    bad = rows(
        200, size=lambda n: n if n % 20 else "x", note=lambda n: {"a": n} if n % 40 == 5 else "-"
    )
    shop.write(*bad)
    found = json.loads(shop.call("schema", "diff", "--json")[1])["orders"]
    (variant,) = (each for each in found if each["kind"] == "variant_added")
    assert {each["action"] for each in found} == {"quarantine"}
    code, said = shop.call("schema", "accept", "--from-source", "--change", variant["id"])
    assert (code, said.count("accepted  "), "the next run goes on" in said) == (0, 1, True)
    assert "size__v_text" in shop.call("schema", "show")[1]
    assert "note__a" not in shop.call("schema", "show")[1]
    assert "variant_added" not in [
        each["kind"]
        for each in json.loads(shop.call("schema", "diff", "--json")[1])["orders"]
        if each["action"] == "quarantine"
    ]
    code, said = shop.call("run")
    assert (code, "in quarantine" in said) == (0, True)
    assert "`size`: bigint, now also text" in said
    assert shop.call("schema", "accept", "--from-source")[1] == "no changes are pending\n"
    # a value that its column does not hold is one of its field, beside rows that are kept out
    shop.write(*rows(400, size=lambda n: "x"), *rows(600, 5, note=lambda n: {"a": n}))
    assert "no longer arrives" not in shop.call("schema", "diff")[1]


def test_a_run_that_is_held_tells_what_it_had_loaded_before(shop: Shop) -> None:
    """It loads the package that waited, and then holds what it reads next."""
    shop.load({"id": 1, "note": "a", "size": 1})
    shop.write({"id": 2, "note": {"text": "b"}, "size": 2})
    assert "nothing was loaded" in shop.call("run")[1]
    shop.call("schema", "accept", "--stream", "orders")
    shop.write({"id": 3, "note": "c", "size": {"cm": 3}})
    code, said = shop.call("run", "--json")
    assert code == 1
    document = json.loads(said[: said.index("\n}\n") + 2])
    (report,), (failure,) = document["reports"], document["failed"]
    assert [(table["rows"], table["rows_total"]) for table in report["tables"]] == [(1, 2)]
    assert shop.place.column("orders", "id") == [1, 2]
    told = "must be accepted first; nothing more was loaded\n"
    assert told in failure["error"]
    assert "nothing was loaded" not in said
    assert failure["error"].endswith("\n  before that, this run loaded 1 row")
    # the next one loads nothing
    assert "nothing was loaded" in shop.call("run")[1]
