"""`millstream mcp`, asked by the SDK's own client: what it tells is what the database holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from millstream.cli import main

pytest.importorskip("mcp")
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: files, streams: {orders: {path: "*.jsonl", primary_key: id}}}
  destination: {type: duckdb, database: warehouse.duckdb, dataset: shop}
  schema_policy: {preset: strict}
  receipts: all
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Two loads, the second of which is held, and a line that is not JSON."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "defs.yaml").write_text(DEFS)
    (folder / "a.jsonl").write_text('{"id": 1, "lines": [{"sku": "a"}]}\n{"id": 2}\nno json\n')
    assert main(["run", str(folder)]) == 0
    (folder / "b.jsonl").write_text('{"id": 3, "coupon": "x"}\n')
    assert main(["run", str(folder)]) == 1
    capsys.readouterr()
    return folder


def ask(folder: Path, *calls: tuple[str, Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
    """The tools that are offered, and the answers."""

    async def talk() -> tuple[list[Any], list[Any]]:
        import os

        how = StdioServerParameters(
            command=sys.executable,
            args=["-m", "millstream", "mcp", str(folder)],
            env={**os.environ},
        )
        async with stdio_client(how) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            answers = [await session.call_tool(name, dict(given)) for name, given in calls]
        return tools, answers

    return anyio.run(talk)


def said(answer: Any) -> Any:
    assert not answer.is_error, answer
    found = answer.structured_content
    if found is None:
        return [json.loads(each.text) for each in answer.content]
    return found.get("result", found)


@pytest.mark.nightly
def test_an_agent_sees_what_is_there(project: Path) -> None:
    shop = {"pipeline": "shop"}
    tools, answers = ask(
        project,
        ("pipelines", {}),
        ("tables", shop),
        ("schema_changes", shop),
        ("pending_changes", shop),
        ("quarantine", shop),
        ("profile", {**shop, "stream": "orders"}),
        ("preview", {**shop, "stream": "orders"}),
        ("next_changes", {**shop, "stream": "orders"}),
        ("receipts", shop),
    )
    assert all(tool.annotations.read_only_hint for tool in tools)
    pipelines, tables, changes, pending, quarantine, profile, preview, coming, receipts = map(
        said, answers
    )
    assert [each["name"] for each in pipelines] == ["shop"]
    assert {"orders", "orders__lines"} <= {*str(tables).replace("'", " ").split()}
    assert any("orders__lines" in str(each) for each in changes)
    assert "coupon" in str(pending)
    assert [each["reason"] for each in quarantine] == ["unreadable"]
    assert "no json" not in str(quarantine)
    (newest,) = profile.values()
    assert newest["orders"]["id"]["rows"] == 2
    assert "sketch" not in newest["orders"]["id"]
    assert "coupon" in str(preview)
    assert "coupon" in str(coming)
    (receipt,) = receipts
    assert receipt["is_delivered"]
    assert {each["table"] for each in receipt["receipts"]} == {"orders", "orders__lines"}


@pytest.mark.nightly
def test_what_is_asked_wrongly_is_said(project: Path) -> None:
    (project / "broken").mkdir()
    (project / "broken" / "defs.yaml").write_text(
        "type: millstream.Pipeline\nattributes: {name: 7}"
    )
    (project.parent / "defs.yaml").write_text(DEFS.replace("shop", "outside"))
    _, answers = ask(
        project,
        ("tables", {"pipeline": "outside"}),
        ("tables", {"pipeline": "shop", "stream": "ordres"}),
        ("pipelines", {}),
    )
    assert [answer.is_error for answer in answers] == [True, True, False]
    assert "no pipeline 'outside' here" in answers[0].content[0].text
    assert "did you mean 'orders'?" in answers[1].content[0].text
    assert "name" in next(each["error"] for each in said(answers[2]) if "error" in each)
