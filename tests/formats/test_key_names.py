"""The names of keys: laws that hold for any keys, in any order."""

from __future__ import annotations

from pathlib import Path

import dlt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.formats.key_names import HINT, KeyNames

PLAIN = ["createdAt", "created_at", "first name", "a.b", "+1", "$x", "Id", "HTTPServer", "_id"]
keys = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["foo", "Foo", "FOO", "1", "-1", "__v", "v", "_v", "a__b", "a_b", "v_text"]),
    st.sampled_from(["名前", "年齢", "名前 ", "Größe", "Grosse", "🙂", "_dlt_id", "_DltId", ""]),
)
naming = dlt.Schema("shop").naming


def names(hints: dict[str, str] | None = None, columns: tuple[str, ...] = ()) -> KeyNames:
    there = {"t": columns} if columns else {}
    return KeyNames("t", naming.normalize_identifier, naming.normalize_path, hints or {}, there)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([(), ("a",)]), keys), max_size=30, unique=True))
def test_no_two_keys_share_a_name_and_all_are_remembered(
    made: list[tuple[tuple[str, ...], str]],
) -> None:
    first = names()
    found = {(path, key): first.name(path, key) for path, key in made}

    columns = ["__".join((*path, name)) for (path, _), name in found.items()]
    assert len({*columns}) == len(columns)
    for column in columns:  # or dlt would write another one
        assert naming.normalize_path(column) == column
    again = names(first.new(), tuple(columns))
    for path, key in reversed(made):
        assert again.name(path, key) == found[path, key]
    assert again.new() == {}


@pytest.mark.parametrize("key", PLAIN)
def test_a_plain_key_alone_has_the_name_that_dlt_gives(key: str) -> None:
    assert names().name((), key) == naming.normalize_identifier(key)


@given(st.permutations(["Foo", "foo", "FOO", "1", "-1", "名前", "__v", "_v"]))
def test_keys_that_come_together_are_named_alike_in_any_order(order: list[str]) -> None:
    found = names()
    found.decide((), order)
    expected = names()
    expected.decide((), sorted(order))
    assert found.scope(()) == expected.scope(())
    assert (found.name((), "foo"), found.name((), "1")) == ("foo", "_1")


def test_hints_name_the_path_and_the_key() -> None:
    found = names()
    found.name((found.name((), "votes"),), "-1")
    assert found.new() == {f"{HINT}votes": "votes", f"{HINT}votes._1": "-1"}


def test_lists_and_columns_are_located_by_keys() -> None:
    found = names()
    assert found.locate(("a", "b")) == ([], "a__b")
    assert found.locate(("a", "b", "[]", "c", "[]", "Größe")) == ([("a", "b"), ("c",)], "grosse")
    assert found.locate(("a", "[]", "[]")) == ([("a",), ("list",)], "value")


def test_processes_that_share_a_file_decide_alike(tmp_path: Path) -> None:
    one, two = names(), names()
    one.share(tmp_path / "names.jsonl")
    two.share(tmp_path / "names.jsonl")
    assert [one.name((), "Foo"), two.name((), "foo"), one.name((), "foo")] == [
        "foo",
        "foo_x0beec7",
        "foo_x0beec7",
    ]
    assert two.name((), "Foo") == "foo"
    two.decide(("a",), ["b", "B"])
    assert (one.name(("a",), "B"), one.name((), "c")) == (two.name(("a",), "B"), "c")
