"""YAML that would take more memory than there is, and duplicate keys, before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millstream.config.yaml_limits import DEEPEST, ensure_bounded
from millstream.errors import ConfigError

FILE = Path("defs.yaml")
values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(values)
def test_what_a_yaml_writer_writes_is_read(value: Any) -> None:
    ensure_bounded(yaml.safe_dump(value, allow_unicode=True), FILE, unique=True)


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ("{a: ", "}")])
def test_depth_is_bounded(open_: str, close: str) -> None:
    ensure_bounded(open_ * DEEPEST + close * DEEPEST, FILE)
    with pytest.raises(ConfigError, match=r"defs\.yaml:1: nested more than 64 levels deep"):
        ensure_bounded(open_ * (DEEPEST + 1) + close * (DEEPEST + 1), FILE)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    for n in range(1, levels):
        aliases = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} [{aliases}]")
    return "\n".join(lines)


def test_aliases_are_counted_as_what_they_stand_for() -> None:
    ensure_bounded(bomb(5), FILE)  # 9 ** 5 values
    with pytest.raises(ConfigError, match=r"defs\.yaml:\d+: more than 2,000,000 values"):
        ensure_bounded(bomb(9), FILE)
    with pytest.raises(ConfigError, match=r"`\*a` is part of itself"):
        ensure_bounded("a: &a [1, *a]", FILE)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("x:\n  a: 1\n  b: {c: 1, c: 2}\n", 3),
        ("- {a: 1}\n- {a: 1}\n- a: [1]\n  a: 2\n", 4),
        ('a: 1\n"a": 2\n', 2),
    ],
)
def test_duplicate_keys_are_named_with_their_line(text: str, line: int) -> None:
    ensure_bounded(text, FILE)
    with pytest.raises(ConfigError, match=rf"defs\.yaml:{line}: duplicate key `[ac]`"):
        ensure_bounded(text, FILE, unique=True)


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1}\nb: {b: 1}\n",  # keys of different mappings
        "a: b\nb: a\n",  # a value is not a key
        "- a\n- a\n",
        "a: 1\n---\na: 2\n",
        "a: [b, b]\nb: x\n",
        "? {a: 1}\n: 1\n? {a: 1, b: 2}\n: 1\n",
        "a: [",  # whoever reads it says so
    ],
)
def test_other_texts_are_left_to_their_reader(text: str) -> None:
    ensure_bounded(text, FILE, unique=True)
