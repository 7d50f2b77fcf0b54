"""Python programs in processes of their own, without the seconds in which they import libraries.

`millstream` and its kin run a program to its end, as `subprocess.run` does. The process is forked
from one that has the libraries already (`services.fork_server`), which costs a tenth of a start.
What a start itself does, what a signal does to a program, and the journeys of the README are tested
with programs that are really started.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock

ENOUGH = 300
"""Seconds after which a program that has not ended is broken."""

_ASKING = Lock()
_TESTS = Path(__file__).parents[1]
# what a library might read while it is imported comes with each program, not before
_OF_A_TEST = ("MILLSTREAM_", "DLT_", "RUNTIME__", "DAGSTER_", "DESTINATION__", "MONGODB_")


def millstream(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m millstream ...` in a folder; modules of that folder can be imported.

    Args:
        environment: added to that of the test.
    """
    return _run("module", "millstream", arguments, folder, environment)


def python_file(
    file: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python file ...`, in this process's folder."""
    return _run("file", str(file), arguments, Path.cwd(), environment)


def python_code(
    code: str,
    *arguments: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`python -c code ...`, in this process's folder unless another is given."""
    return _run("code", code, arguments, folder or Path.cwd(), environment)


def _run(
    how: str,
    what: str,
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str] | None,
) -> subprocess.CompletedProcess[str]:
    task = {
        "how": how,
        "what": what,
        "arguments": arguments,
        "folder": str(folder),
        "environment": {**os.environ, **(environment or {})},
    }
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        Path(os.devnull).open("rb") as nothing,
    ):
        answer, theirs = socket.socketpair()
        with answer, theirs:
            answer.settimeout(ENOUGH)
            streams = [each.fileno() for each in (theirs, nothing, output, errors)]
            text = json.dumps(task).encode() + b"\n"
            with _ASKING:
                sent = socket.send_fds(_server(), [text], streams)
                _server().sendall(text[sent:])
            theirs.close()
            program = _number(answer)
            try:
                code = _number(answer)
            except TimeoutError:
                os.kill(program, signal.SIGKILL)
                code = _number(answer)
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(
            [how, what, *arguments], code, output.read().decode(), errors.read().decode()
        )


@cache
def _server() -> socket.socket:
    """The end at which the server of this process, once started, is asked."""
    ours, theirs = socket.socketpair()
    server = subprocess.Popen(
        [sys.executable, "-m", "services.fork_server", str(theirs.fileno())],
        cwd=_TESTS,
        env={key: value for key, value in os.environ.items() if not key.startswith(_OF_A_TEST)},
        pass_fds=[theirs.fileno()],
        start_new_session=True,  # a Ctrl-C is for the tests, which then hang up
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours


def _number(answer: socket.socket) -> int:
    packed = answer.recv(4)
    assert len(packed) == 4, "the fork server is gone"
    (number,) = struct.unpack("i", packed)
    return int(number)
