"""Kill runs at chosen moments, then run again: a process of its own, for `test_kills.py`.

    echo TASK | python kill_worker.py
    TASK: {"disposition", "destination", "project", "kills", "refresh", "elsewhere"}

The first run may end, and tells how many operations there were in each step: those on files, and
both sides of a step and of the commit of a load. `kills` says how many other runs are killed in
which step, after any number of operations; half of them are healed on another machine, if
`elsewhere` says so. Each has a
dataset of its own, and a line of JSON comes out for each. With `refresh` they are full refreshes,
and the line has the rows that a killed one left. The destination's credentials come from the
environment. Runs are forked, so that everything is imported once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.load.load import Load

from millstream import destinations
from millstream.config import TargetConfig
from millstream.runs import load_packages, runner
from millstream.runs.recorder import RunRecorder

ROWS = 60  # a step; several files a table, since a file holds 25
OPERATIONS = frozenset({"os.rename", "os.remove", "os.link", "os.rmdir", "os.mkdir", "open"})


def world(step: int, disposition: str) -> list[dict[str, Any]]:
    """The rows that are new at a step of the world, each with two child rows.

    Rows of the second step have a column, a list and a type of `amount` that those of the first
    have not.
    """
    start = (step - 1) * ROWS if disposition == "append" else 5 * step
    more = {"amount": "two", "late": True, "notes": [{"note": 1}]} if step > 1 else {"amount": 1}
    return [
        {"id": n, "step": step, "tags": [{"tag": n}, {"tag": -n}], **more}
        for n in range(start, start + ROWS)
    ]


def load(target: TargetConfig, step: int, disposition: str, refresh: bool = False) -> None:
    @dlt.resource(
        name="things",
        write_disposition=disposition,
        primary_key="id" if disposition == "merge" else None,
    )
    def things() -> Any:
        if disposition == "replace":
            yield world(step, disposition)
            return
        state = dlt.current.resource_state()
        for each in range(state.get("read", 0) + 1, step + 1):
            yield world(each, disposition)
        state["read"] = step

    runner.run_data(things(), target, full_refresh=refresh)


class Doom:
    """Counts what a run does, step by step, and kills it at one moment.

    `commit` is the part of a load in which it becomes one: its row, and its package's end. `count`
    is the moment after normalize, before anybody knows how many rows it made.
    """

    def __init__(self, step: str | None, operation: int, told: int) -> None:
        self.moment = (step, operation)
        self.told = told
        self.step = "start"
        self.seen: Counter[str] = Counter()

    def install(self) -> None:
        sys.addaudithook(lambda event, _: self.tick() if event in OPERATIONS else None)
        counted = load_packages.counted
        step, complete = RunRecorder.step, Load.complete_package

        @contextmanager
        def stepped(recorder: RunRecorder, name: str) -> Iterator[None]:
            with self.within(name), step(recorder, name):
                yield

        def completed(load: Load, *args: Any, **kwargs: Any) -> None:
            with self.within("commit"):
                complete(load, *args, **kwargs)

        def committing(commit: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
            def committed(client: Any, load_id: str) -> None:
                self.tick()
                commit(client, load_id)
                self.tick()

            return committed

        def count(run: Path, counts: Any) -> Any:
            with self.within("count") if counts else nullcontext():
                return counted(run, counts)

        load_packages.counted = count
        RunRecorder.step = stepped  # type: ignore[method-assign]
        Load.complete_package = completed  # type: ignore[method-assign]
        for kind in (SqlJobClientBase, FilesystemClient):
            kind.complete_load = committing(kind.complete_load)  # type: ignore[method-assign]

    @contextmanager
    def within(self, step: str) -> Iterator[None]:
        outside, self.step = self.step, step
        self.tick()
        try:
            yield
            self.tick()
        finally:
            self.step = outside

    def tick(self) -> None:
        if (self.step, self.seen[self.step]) == self.moment:
            os.write(self.told, json.dumps({"died": self.step}).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen[self.step] += 1


def doomed(
    target: TargetConfig,
    disposition: str,
    refresh: bool,
    step: str | None,
    operation: int,
    told: Path,
) -> None:
    load(target.model_copy(update={"history": False}), 1, disposition)
    doom = Doom(step, operation, os.open(told, os.O_WRONLY | os.O_CREAT))
    doom.install()
    load(target, 2, disposition, refresh)
    os.write(doom.told, json.dumps({"died": None, "operations": dict(doom.seen)}).encode())


def heal(target: TargetConfig, disposition: str, refresh: bool, elsewhere: bool) -> None:
    """Run again; `elsewhere` as another machine would, which has nothing of the killed run."""
    if elsewhere:
        os.environ["MILLSTREAM_HOME"] += "-elsewhere"
    load(target, 2, disposition, refresh)


def look(target: TargetConfig, told: Path) -> None:
    """Note the rows that are there, without a look at anything of a run's."""
    pipeline = dlt.pipeline(
        "look",
        pipelines_dir=str(told.with_suffix(".look")),
        destination=destinations.build(target),
        dataset_name=target.dataset,
    )
    table = f"{target.dataset}.things"
    with pipeline.sql_client() as client:
        rows = client.execute_sql(f"SELECT id, step FROM {table} ORDER BY 1, 2")
        children = client.execute_sql(
            f"SELECT parent.id, tag FROM {table}__tags AS child "
            f"JOIN {table} AS parent ON child._dlt_parent_id = parent._dlt_id ORDER BY 1, 2"
        )
    told.write_text(json.dumps([[*map(list, rows or ())], [*map(list, children or ())]]))


def warm(target: TargetConfig, disposition: str, told: Path) -> None:
    load(target, 1, disposition)
    told.write_text(json.dumps([*sys.modules]))


def forked(work: Callable[..., None], *arguments: Any) -> int:
    """Do the work in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    task = json.load(sys.stdin)
    disposition, project = task["disposition"], Path(task["project"])
    refresh = bool(task.get("refresh"))

    def place(name: str) -> TargetConfig:
        return TargetConfig.model_validate(
            {"name": name, "project": project, "destination": task["destination"]}
        )

    # what a run imports as it goes, before the first fork of those that count; in the order of the
    # run, since a package may fail, half imported, where one of its modules comes first
    told = project / "modules"
    forked(warm, place("warm"), disposition, told)
    for module in json.loads(told.read_text()):
        with suppress(Exception):  # made at run time, or a namespace of its own
            import_module(module)

    def fight(name: str, step: str | None, operation: int) -> dict[str, Any]:
        target, told = place(name), project / f"{name}.told"
        ended = forked(doomed, target, disposition, refresh, step, operation, told)
        left = project / f"{name}.left"
        if refresh:
            assert forked(look, target, left) == 0
        elsewhere = task["elsewhere"] and random.random() < 0.5
        healed = forked(heal, target, disposition, refresh, elsewhere)
        line = {
            "name": name,
            "ended": ended,
            "healed": healed,
            "elsewhere": elsewhere,
            # two threads may come to the moment at once, and both tell
            **json.JSONDecoder().raw_decode(told.read_text())[0],
        }
        if refresh:
            line["left"] = json.loads(left.read_text())
        print(json.dumps(line), flush=True)
        return line

    operations = fight("p_end", None, 0)["operations"]
    for step, kills in task["kills"].items():
        # any moment, a different one each time; the name tells which
        for moment in sorted(random.sample(range(operations[step]), min(kills, operations[step]))):
            # threads make operations come in another order, so that the last ones may never come
            while fight(f"p_{step}_{moment}", step, moment)["died"] is None and moment:
                moment //= 2


if __name__ == "__main__":
    main()
