"""Numbers, trees and columns as people read them."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.cli import terminal
from millstream.common import redact, status_line


@pytest.mark.parametrize("module", [terminal, redact, status_line])
def test_examples_in_the_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 20)))
def test_a_tree_shows_every_name_once_below_its_parent(links: dict[int, int]) -> None:
    # a parent has a smaller number, as a schema has no cycles
    parents = {str(name): str(parent) if parent < name else None for name, parent in links.items()}
    rows = terminal.tree(parents)

    assert sorted(name for _, name in rows) == sorted(parents)
    position = {name: index for index, (_, name) in enumerate(rows)}
    depth = {name: len(branch) // 3 for branch, name in rows}
    for name, parent in parents.items():
        if parent in parents:
            assert position[parent] < position[name]
            assert depth[name] == depth[parent] + 1
        else:
            assert depth[name] == 0


@given(st.integers(0, 10**15))
def test_a_size_is_short(number: int) -> None:
    assert len(terminal.size(number)) <= 7


def test_a_connection_string_counts_by_its_password_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "DESTINATION__POSTGRES__CREDENTIALS", "postgresql://loader:correcthorse@db:5432/dw"
    )
    shown = redact.redact("password 'correcthorse' refused for loader at db:5432")
    assert shown == "password '***' refused for loader at db:5432"


def test_a_private_key_is_blanked_even_when_cut_short() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n"
    assert "MIIE" not in redact.redact(f"bad key: {key}")
    assert "MIIE" not in redact.redact(f"bad key: {key}-----END PRIVATE KEY----- at the end")


def test_a_host_and_a_project_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__BIGQUERY__CREDENTIALS__PROJECT_ID", "my-project")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS__HOST", "db.example.org")
    text = "no dataset in my-project at db.example.org"
    assert redact.redact(text) == text
