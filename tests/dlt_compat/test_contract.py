from __future__ import annotations

import ast
from pathlib import Path

import pytest
from dlt.common.schema import Schema
from dlt.destinations.impl.duckdb.configuration import DuckDbConnectionPool
from dlt.extract.resource import DltResource

import millstream
from millstream.destinations import duckdb_bulk
from millstream.dlt_compat import contract, pipes
from millstream.errors import MillstreamError

NOT_OF_DLT = {
    "_Binary": "SQLAlchemy's types",
    "_exit": "os",
    "_message": "pymongo's errors",
    "_replace": "named tuples",
    "_run_exitfuncs": "atexit",
    "_strip_protocol": "fsspec",
    "_unpack_response": "pymongo's cursors, checked with the first reply",
}


@pytest.mark.parametrize("need", contract.CONTRACT)
def test_the_installed_dlt_is_as_it_should_be(need: str) -> None:
    assert contract.problem(need) is None


def test_no_private_name_of_dlt_is_missing_here() -> None:
    used: dict[str, Path] = {}
    own: set[str] = set()
    for file in Path(millstream.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                is_private = node.attr.startswith("_") and not node.attr.startswith("__")
                if is_private:
                    used[node.attr] = file
                is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
                if is_self and isinstance(node.ctx, ast.Store):
                    own.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                own |= {each.id for each in targets if isinstance(each, ast.Name)}
    # `_last` is of the clock, whose entry names it
    listed = {
        name.name for owners in contract.CONTRACT.values() for o in owners for name in o.names
    }
    listed |= {"_last", *NOT_OF_DLT}
    missing = {name: file.name for name, file in used.items() if name not in listed | own}
    assert missing == {}


def test_a_name_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Schema, "_infer_hint")
    assert contract.problem("engine") == "Schema._infer_hint is missing"


def test_an_attribute_of_objects_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = DuckDbConnectionPool.__init__

    def without_lock(self: DuckDbConnectionPool, *args: object) -> None:
        made(self, *args)
        del self._conn_lock

    monkeypatch.setattr(DuckDbConnectionPool, "__init__", without_lock)
    assert contract.problem("duckdb") == "DuckDbConnectionPool._conn_lock is missing"


def test_what_is_needed_and_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DltResource, "from_data", lambda data, name: object())
    contract.require.cache_clear()
    with pytest.raises(MillstreamError, match=r"DltResource\._pipe is missing") as caught:
        pipes.pipe_of(object())  # type: ignore[arg-type]
    assert "pip install 'dlt~=1.31.0'" in str(caught.value)


def test_duckdb_that_connects_elsewhere_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    assert duckdb_bulk._fits()
    duckdb_bulk._fits.cache_clear()
    monkeypatch.setattr(duckdb_bulk._Probe, "asked", False)
    monkeypatch.setattr(
        DuckDbConnectionPool,
        "borrow_conn",
        lambda self, global_config=None, local_config=None, pragmas=None: duckdb.connect(),
    )
    monkeypatch.setattr(DuckDbConnectionPool, "return_conn", lambda self, conn: 0)
    assert not duckdb_bulk._fits()
    duckdb_bulk._fits.cache_clear()
