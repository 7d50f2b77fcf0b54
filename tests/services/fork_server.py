"""A process that has imported the libraries, and forks for each program it is asked to run.

`services.processes` starts it and speaks with it; this module is what runs there. A forked program
has the arguments, environment, folder and streams that it was given, and a memory of its own: what
one does, no other sees. Nothing here may start a thread or ask dlt for its context before the fork.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# what `millstream run` imports, but for sources and destinations that few tests use
LIBRARIES = (
    "millstream.cli.commands",
    "millstream.cli.report",
    "millstream.runs.runner",
    "millstream.runs.parallel",
    "millstream.engine.dlt.normalizer",
    "millstream.sources.files",
    "dlt.destinations.impl.duckdb.duck",
    "pyarrow.json",
    "pyarrow.parquet",
    "psycopg2",
    "pymongo",
)


def serve(connection: socket.socket) -> None:
    """Start what is asked for, any number at a time, until nobody is there to ask."""
    for library in LIBRARIES:
        import_module(library)
    # the collector would write to each object, and so copy the memory that the programs share
    gc.collect()
    gc.freeze()
    while request := receive(connection):
        task, (answer, *streams) = request
        if not os.fork():
            connection.close()
            watch(task, answer, streams)
        for stream in (answer, *streams):
            os.close(stream)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those that watched, and are done
                pass


def watch(task: dict[str, Any], answer: int, streams: list[int]) -> NoReturn:
    """Start one program, and tell its number, then its exit code."""
    program = os.fork()
    if not program:
        os.close(answer)
        become(task, streams)
    for stream in streams:
        os.close(stream)
    with suppress(OSError):  # nobody listens any more
        os.write(answer, struct.pack("i", program))
        os.write(answer, struct.pack("i", os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])))
    os._exit(0)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """A task, which is a line of JSON; where to answer, and the three streams of the program."""
    text, streams, _, _ = socket.recv_fds(connection, 65_536, 4)
    while text and not text.endswith(b"\n"):
        text += connection.recv(65_536)
    return (json.loads(text), streams) if text else None


def become(task: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be `python -m millstream ...`, `python file ...` or `python -c code ...`."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        os.chdir(task["folder"])
        os.environ.clear()
        os.environ.update(task["environment"])
        time.tzset()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        first = str(Path(task["what"]).parent if task["how"] == "file" else Path.cwd())
        sys.path[:1] = [first, *filter(None, added)]
        sys.argv = [task["what"], *task["arguments"]]
        run(task["how"], task["what"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
    atexit._run_exitfuncs()
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError):
            output.flush()
    os._exit(code)


def run(how: str, what: str) -> None:
    if how == "module":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif how == "file":
        runpy.run_path(what, run_name="__main__")
    else:
        main = sys.modules["__main__"] = ModuleType("__main__")
        sys.argv[0] = "-c"
        exec(compile(what, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)
