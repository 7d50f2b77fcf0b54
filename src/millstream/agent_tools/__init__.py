"""`millstream mcp`: an MCP server whose tools look at pipelines and change nothing.

Most tools are commands of `millstream` with `--json`, run in a process of their own: what a library
prints can't get between the server's messages, and a run that goes on is not waited for here.
Protocol: https://modelcontextprotocol.io
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import millstream
from millstream.common.redact import redact_foreign
from millstream.config import PipelineConfig, pipelines_below, read_pipeline
from millstream.errors import ConfigError, MillstreamError, MissingDependencyError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from millstream.model import ColumnProfile

_ROW_LIMIT = 50
_INSTRUCTIONS = (
    "Looks at data pipelines of Millstream: their tables and columns, how their schema has "
    "changed, what waits to be accepted, and rows in quarantine. Nothing is changed: to accept, "
    "reject, replay or load is for a person, by the `millstream` command."
)


class Tools:
    """What an agent may ask of the pipelines below a folder; each answer is JSON-ready.

    Args:
        root: no tool looks at a pipeline outside of it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def pipelines(self) -> list[dict[str, Any]]:
        """The pipelines of this project: source, destination, dataset and streams of each."""
        return [self._described(file) for file in pipelines_below(self._root)]

    def tables(self, pipeline: str, stream: str | None = None) -> Any:
        """The accepted tables of a pipeline, with columns, types, keys and JSON paths."""
        return self._command(pipeline, stream, "schema", "show")

    def schema_changes(
        self,
        pipeline: str,
        stream: str | None = None,
        table: str | None = None,
        limit: int = _ROW_LIMIT,
    ) -> Any:
        """The newest changes of the schema that runs have made, oldest first; 0 lists all."""
        more = ["--limit", str(limit), *(["--table", table] if table else [])]
        return self._command(pipeline, stream, "schema", "log", *more)

    def pending_changes(self, pipeline: str, stream: str | None = None) -> Any:
        """The changes that held runs wait for until a person accepts or rejects them."""
        return self._command(pipeline, stream, "schema", "pending")

    def next_changes(self, pipeline: str, stream: str) -> Any:
        """What the next run of a stream would find changed; reads some pages of the source."""
        return self._command(pipeline, stream, "schema", "diff")

    def pending_packages(self, pipeline: str, stream: str | None = None) -> Any:
        """The packages that runs have extracted and not loaded, and why."""
        return self._command(pipeline, stream, "pending", "list")

    def quarantine(
        self, pipeline: str, stream: str | None = None, with_rows: bool = False
    ) -> list[dict[str, Any]]:
        """The rows that wait in quarantine: reason, table and column; on demand the rows, too."""
        found: list[dict[str, Any]] = self._command(pipeline, stream, "quarantine", "list")
        left_out = () if with_rows else ("document",)
        return [
            {name: value for name, value in entry.items() if name not in left_out}
            for entry in found[-_ROW_LIMIT:]
        ]

    def profile(self, pipeline: str, stream: str) -> dict[str, Any]:
        """What the columns of the newest load hold: rows, presence, nulls, least and greatest."""
        from millstream import destinations
        from millstream.schema_changes import history

        config = self._config(pipeline)
        with destinations.reader(config) as destination:
            place = history.Place(destination, config.dataset)
            loads = history.seen(place, config.name, stream, loads=1)
        return {
            load_id: {
                table: {name: _figures(column) for name, column in columns.items()}
                for table, columns in seen.profile.items()
            }
            for load_id, seen in loads
        }

    def preview(self, pipeline: str, stream: str, rows: int = 3) -> Any:
        """The first rows of a stream as the tables that they would become; loads nothing."""
        file = self._file(pipeline)
        return self._run("preview", stream, str(file), "--json", "--rows", str(min(rows, 20)))

    def doctor(self, pipeline: str) -> Any:
        """Whether source, credentials, destination and dlt are well, and what to do if not."""
        return self._run("doctor", str(self._file(pipeline)), "--json")

    def receipts(self, pipeline: str, stream: str | None = None) -> Any:
        """Whether the last loads delivered what was read: rows and differing columns by table."""
        return self._command(pipeline, stream, "audit")

    def _described(self, file: Path) -> dict[str, Any]:
        from millstream import sources

        where = str(file.relative_to(self._root))
        try:
            config = read_pipeline(file)
            streams = [each.name for each in sources.of_pipeline(config).streams()]
        except Exception as error:  # one that is wrong hides no other
            return {"file": where, "error": redact_foreign(str(error))}
        return {
            "name": config.name,
            "file": where,
            "source": config.source.type,
            "destination": config.destination.type,
            "dataset": config.dataset,
            "streams": streams,
            "schedule": config.schedule,
        }

    def _file(self, pipeline: str) -> Path:
        files = {each.get("name"): each["file"] for each in self.pipelines()}
        if pipeline not in files:
            known = ", ".join(sorted(filter(None, files)))
            raise ConfigError(f"no pipeline {pipeline!r} here", hint=f"there are: {known}")
        return self._root / str(files[pipeline])

    def _config(self, pipeline: str) -> PipelineConfig:
        return read_pipeline(self._file(pipeline))

    def _command(self, pipeline: str, stream: str | None, *command: str) -> Any:
        chosen = ["--stream", stream] if stream else []
        return self._run(*command[:2], str(self._file(pipeline)), "--json", *chosen, *command[2:])

    def _run(self, *arguments: str) -> Any:
        done = subprocess.run(  # noqa: S603 (our own command, without a shell)
            [sys.executable, "-m", "millstream", *arguments],
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.stdout.strip():  # an exit code may also be the answer, as of `schema diff`
            raise ConfigError(done.stderr.strip().removeprefix("error: "))
        return json.loads(done.stdout)


def server(root: Path) -> MCPServer[Any]:
    """The server, which offers the public methods of `Tools`, each marked as read-only.

    Raises:
        MissingDependencyError: the SDK is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError:
        raise MissingDependencyError(
            "`millstream mcp` needs the package 'mcp', which is not installed",
            hint="pip install 'millstream[mcp]'",
        ) from None
    made: MCPServer[Any] = MCPServer(
        "millstream",
        instructions=_INSTRUCTIONS,
        version=millstream.__version__,
        log_level="WARNING",
    )
    annotations = ToolAnnotations(read_only_hint=True, destructive_hint=False)
    tools = Tools(root)
    for name in [name for name in vars(Tools) if not name.startswith("_")]:
        made.tool(annotations=annotations)(_telling(getattr(tools, name), ToolError))
    return made


def _figures(column: ColumnProfile) -> dict[str, Any]:
    """A profile without its sketch: long lists of hashes, which tell an agent nothing."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(column).items() if name != "sketch"}


def _telling(tool: Callable[..., Any], error: type[Exception]) -> Callable[..., Any]:
    """The tool, with what Millstream says is wrong as the protocol's error."""

    @wraps(tool)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return tool(*args, **kwargs)
        except MillstreamError as wrong:
            raise error(redact_foreign(str(wrong))) from None

    return told
