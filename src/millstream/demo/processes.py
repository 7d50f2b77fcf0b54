"""The demo's processes: the local GitHub, Dagster's runs, its UI. Each is stopped here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from millstream.demo.workspace import PACKAGE, Workspace
from millstream.errors import (
    ConfigError,
    MillstreamError,
    MissingDependencyError,
    SourceUnavailableError,
)
from millstream.model import ChangeKind, SchemaChange, Severity, TableLoad

JOB = "github"
"""The job of the project's pipeline: it bears the pipeline's name."""


@dataclass(frozen=True, slots=True)
class Served:
    """The local server's URL, and what it serves in one sentence."""

    url: str
    origin: str


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One Dagster run.

    Attributes:
        seconds: wall-clock, from loading the definitions on.
        tables: roots before their children.
        changes: every schema change of the run.
    """

    run_id: str
    seconds: float
    tables: tuple[TableLoad, ...]
    changes: tuple[SchemaChange, ...]


@contextmanager
def local_github(cache: Path, log: Path) -> Iterator[Served]:
    """A process that speaks GitHub's API over the recorded rows, which it fetches once.

    Raises:
        SourceUnavailableError: it did not start; the log says why.
    """
    command = [sys.executable, "-m", "millstream.demo.github_server", "--cache", str(cache)]
    with _process(command, log=log, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url, origin = server.stdout.readline().strip(), server.stdout.readline().strip()
        if not origin:
            raise SourceUnavailableError("the local GitHub server did not start", hint=f"see {log}")
        yield Served(url, origin.removeprefix("serving "))


def require(module: str, what: str, package: str) -> None:
    """Refuse to go on without a module that the demo needs.

    Raises:
        MissingDependencyError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise MissingDependencyError(
            f"the demo needs {what}, which is not installed", hint=f"pip install '{package}'"
        )


def runs(
    workspace: Workspace,
    *,
    moments: Sequence[str] = (),
    server: str | None = None,
    said: Callable[[str], None] | None = None,
) -> Iterator[DemoRun]:
    """Materialize all of the project's assets through Dagster: once, or once a moment.

    Args:
        moments: ISO 8601 times, or `now`, that `server` is to serve.
        said: called with every line of progress.

    Raises:
        MillstreamError: a run failed; says why, and where the log is.
    """
    command = [sys.executable, "-m", "millstream.demo.materialize"]
    command += [str(workspace.defs.parent.resolve()), JOB]
    if server:
        command += ["--server", server, *(f"--moment={moment}" for moment in moments)]
    if said:
        command += ["--waits"]
    with _process(
        command,
        log=workspace.log,
        stdout=subprocess.PIPE,
        cwd=workspace.project,
        env=workspace.environment(),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            if "said" in answer:
                if said:
                    said(answer["said"])
                continue
            if answer["error"]:
                raise MillstreamError(answer["error"], hint=f"the log is {workspace.log}")
            yield _demo_run(answer)
        if process.wait() != 0:
            raise _ended(process.returncode, workspace.log)


@dataclass(frozen=True, slots=True)
class Interface:
    """Dagster's UI, up and running."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    def wait(self) -> NoReturn:
        """Until it is interrupted, or ends by itself, which is an error."""
        raise _ended(self.process.wait(), self.log)


@contextmanager
def user_interface(workspace: Workspace, port: int) -> Iterator[Interface]:
    """Dagster's UI on the project and its runs, once it answers.

    Raises:
        ConfigError: no demo has run, or the port is taken.
        MissingDependencyError: the web server is not installed.
        MillstreamError: it did not come up; the log says why.
    """
    if not (workspace.exists() and workspace.database.exists()):
        raise ConfigError("no demo has run here", hint="run `make demo` or `millstream demo` first")
    require("dagster_webserver", "Dagster's web server", "dagster-webserver")
    _refuse_taken(port)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dagster", "dev", "-m", f"{PACKAGE}.definitions", "-d", "src"]
    with _process(
        [*command, "-h", "127.0.0.1", "-p", str(port)],
        log=workspace.log,
        stdout=None,
        cwd=workspace.project,
        env=workspace.environment(),
        stop=signal.SIGINT,  # its own children end with it only then
    ) as process:
        while not _answers(f"{url}/server_info"):
            if process.poll() is not None:
                raise _ended(process.returncode, workspace.log)
            time.sleep(0.2)
        yield Interface(url, process, workspace.log)


def _ended(code: int, log: Path) -> MillstreamError:
    return MillstreamError(f"Dagster ended with exit code {code}", hint=f"the log is {log}")


def _demo_run(answer: dict[str, Any]) -> DemoRun:
    changes = [
        SchemaChange(
            kind=cast("ChangeKind", change["change"].replace(" ", "_")),
            table=change["table"],
            column=change["column"] or None,
            old=change["before"] or None,
            new=change["now"] or None,
            severity=cast("Severity", change["severity"]),
            message=change["meaning"],
        )
        # a root's metadata has all changes of its stream, a child's once more its own
        for table in answer["tables"]
        if table["parent"] is None
        for change in table["changes"]
    ]
    tables = [
        TableLoad(
            name=table["name"],
            parent=table["parent"],
            rows=table["rows"],
            rows_total=table["rows_total"],
            bytes=table["bytes"],
            full_name=table["full_name"],
        )
        for table in answer["tables"]
    ]
    return DemoRun(answer["run_id"], answer["seconds"], tuple(tables), tuple(changes))


@contextmanager
def _process(
    command: Sequence[str],
    *,
    log: Path,
    stdout: int | None,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[str]]:
    """A child process whose stderr goes to the log; ended, whatever happens in between."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, arguments of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            text=True,
            cwd=cwd,
            env=env,
            # a group of its own, so that its children can be found when it is gone; Ctrl-C then
            # reaches it through us alone
            start_new_session=True,
            # a shell's background job ignores SIGINT, and hands that down
            preexec_fn=_listen_to_ctrl_c,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with suppress(ProcessLookupError):  # whom it left behind
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()


def _listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _refuse_taken(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError(
                f"port {port} is taken", hint=f"choose another: --port {port + 1}"
            ) from None


def _answers(url: str) -> bool:
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
