"""The demo's folder: a project as `millstream init` writes it, and what its runs leave behind.

.demo/
  github_issues/   the project; defs.yaml names the local server
  dagster/         DAGSTER_HOME: every run, for the UI
  millstream/      MILLSTREAM_HOME
  demo.log         what Dagster and dlt said
  live/            the same four for the real GitHub
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import millstream
from millstream.common import file_lock
from millstream.errors import ConfigError
from millstream.scaffold import Project, write_project

SOURCE, DESTINATION = "github_issues", "duckdb"
PACKAGE = "github_issues"

_DAGSTER_YAML = """\
nux:
  enabled: false
telemetry:
  enabled: false
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of one demo, recorded or live."""

    root: Path

    @property
    def project(self) -> Path:
        return self.root / PACKAGE

    @property
    def defs(self) -> Path:
        return self.project / "src" / PACKAGE / "defs" / SOURCE / "defs.yaml"

    @property
    def database(self) -> Path:
        return self.project / "warehouse.duckdb"

    @property
    def log(self) -> Path:
        return self.root / "demo.log"

    def environment(self) -> dict[str, str]:
        """For processes that run or show the project: all that they write stays in the folder."""
        source = str(self.project.resolve() / "src")
        path = os.environ.get("PYTHONPATH")
        return {
            **os.environ,
            # the project is not installed: its virtual environment is Millstream's
            "PYTHONPATH": os.pathsep.join([source, path]) if path else source,
            "DAGSTER_HOME": str(self.root.resolve() / "dagster"),
            "MILLSTREAM_HOME": str(self.root.resolve() / "millstream"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }

    def exists(self) -> bool:
        return self.defs.is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One demo at a time: a second would take the data away from under the first.

        Raises:
            ConfigError: another one is running.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with ExitStack() as kept:
            try:
                kept.enter_context(file_lock.locked(self.root, wait=False))
            except BlockingIOError:
                raise ConfigError(
                    f"a demo is running in {self.root}", hint="wait for it, or stop it with Ctrl-C"
                ) from None
            yield

    def prepare(
        self,
        *,
        repositories: Sequence[str],
        streams: Sequence[str] = (),
        base_url: str | None = None,
    ) -> None:
        """Make it as before the first run: the project as scaffolded, no data.

        Args:
            streams: those that `millstream init` writes when empty.

        The project's files stay in place where they are right already, and so does Dagster's
        history, since a UI may be open on both.
        """
        wanted = {
            "version": millstream.__version__,
            "repositories": list(repositories),
            "streams": list(streams),
        }
        stamp = self.root / "project.json"
        if self.project.exists() and not stamp.is_file():
            raise ConfigError(
                f"{self.project}: is there, and not made by the demo", hint="move it elsewhere"
            )
        self.root.mkdir(parents=True, exist_ok=True)
        # one template of schema.yaml is the accepted schema at the start, whatever runs made of it
        fresh = self._scaffold(self.root / ".fresh" / PACKAGE, repositories, streams)
        try:
            if not self.exists() or _read(stamp) != wanted:
                shutil.rmtree(self.project, ignore_errors=True)
                fresh.folder.rename(self.project)
                stamp.write_text(json.dumps(wanted), encoding="utf-8")
            else:
                for name in ("defs.yaml", "schema.yaml"):
                    (fresh.defs.parent / name).replace(self.defs.parent / name)
        finally:
            shutil.rmtree(self.root / ".fresh", ignore_errors=True)
        for data in (self.database, self.database.with_suffix(".duckdb.wal")):
            data.unlink(missing_ok=True)
        shutil.rmtree(self.root / "millstream", ignore_errors=True)
        self.log.unlink(missing_ok=True)
        home = self.root / "dagster"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text(_DAGSTER_YAML, encoding="utf-8")
        if base_url:
            self.point_at(base_url)

    def point_at(self, base_url: str) -> None:
        """Make the project's source read from another server."""
        text = self.defs.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("base_url:")]
        at = next((i for i, line in enumerate(lines) if line.strip() == "type: github"), None)
        if at is None:
            raise ConfigError(
                f"{self.defs}: no `type: github` in it any more", hint=f"remove {self.root}"
            )
        lines.insert(at + 1, f"    base_url: {base_url}")
        self.defs.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @staticmethod
    def _scaffold(folder: Path, repositories: Sequence[str], streams: Sequence[str]) -> Project:
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.parent.mkdir()
        lists = {"repositories": tuple(repositories)}
        if streams:
            lists["streams"] = tuple(streams)
        return write_project(
            SOURCE,
            DESTINATION,
            folder,
            package=PACKAGE,
            lists=lists,
        )


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
