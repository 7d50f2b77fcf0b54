"""Programs that are forked are as alone as those that are started."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from services.processes import millstream, python_code, python_file

REPORT = """
import json, os, sys
from pathlib import Path
print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), sys.path[0], sys.stdin.read()]))
"""


def test_each_has_its_arguments_folder_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "a")
    done = python_code(REPORT, "x", "y z", folder=tmp_path, environment={"ADDED": "b"})
    assert done.returncode == 0, done.stderr
    arguments, folder, environment, first, typed = json.loads(done.stdout)
    assert (arguments, typed) == (["x", "y z"], "")
    assert Path(folder) == Path(first) == tmp_path
    assert environment == {**os.environ, "ADDED": "b"}
    monkeypatch.delenv("OF_THE_TEST")
    assert "OF_THE_TEST" not in json.loads(python_code(REPORT).stdout)[2]


def test_nothing_that_one_does_reaches_the_next(tmp_path: Path) -> None:
    change = "import dlt, os, sys; dlt.pipeline('mine'); sys.modules['shop'] = 1; os.chdir('/')"
    look = "import dlt, sys; print(dlt.current.pipeline.__name__, 'shop' in sys.modules)"
    active = "from dlt.common.pipeline import PipelineContext as C\n"
    active += "from dlt.common.configuration.container import Container\n"
    assert python_code(change, folder=tmp_path).returncode == 0
    done = python_code(look + "\n" + active + "print(Container()[C].is_active())", folder=tmp_path)
    assert done.stdout.split() == ["pipeline", "False", "False"], done.stderr


@pytest.mark.parametrize(
    ("code", "ends", "error"),
    [
        ("", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('wrong')", 1, "wrong\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
)
def test_it_ends_as_python_would(code: str, ends: int, error: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(code)
    for done in (python_code(code), python_file(file)):
        assert done.returncode == ends, done.stderr
        assert error in done.stderr


def test_the_command_line_says_what_it_says(tmp_path: Path) -> None:
    done = millstream(tmp_path, "rnu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'run'?" in done.stderr
