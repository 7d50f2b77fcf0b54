import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from millstream.common import atomic_write
from millstream.destinations.machine_lock import machine_lock
from millstream.errors import ConfigError
from millstream.runs import workdir


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path))
    return tmp_path


def test_runs_of_one_stream_have_folders_of_their_own():
    with workdir.create("p", "s", "here") as one, workdir.create("p", "s", "here") as two:
        assert one.path != two.path
        assert one.path.is_dir()
        assert list(workdir.abandoned("p", "s", "here")) == []


def test_a_folder_whose_run_ended_is_abandoned_until_removed():
    with workdir.create("p", "s", "here") as folder:
        (folder.path / "package").touch()
    left = list(workdir.abandoned("p", "s", "here"))
    assert [each.path for each in left] == [folder.path]
    assert list(workdir.abandoned("p", "other", "here")) == []
    left[0].remove()
    assert list(workdir.abandoned("p", "s", "here")) == []


def test_what_is_to_be_loaded_elsewhere_is_left_alone():
    with workdir.create("p", "s", "there") as folder:
        pass
    assert list(workdir.abandoned("p", "s", "here")) == []
    assert [each.path for each in workdir.abandoned("p", "s", "there")] == [folder.path]


def test_a_killed_process_leaves_its_folder_to_the_next_run():
    code = """
        import os, signal
        from millstream.runs import workdir
        with workdir.create("p", "s", "here") as folder:
            print(folder.path, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert [str(left.path) for left in workdir.abandoned("p", "s", "here")] == [done.stdout.strip()]


def test_two_runs_never_take_the_same_abandoned_folder():
    with workdir.create("p", "s", "here"):
        pass
    first = workdir.abandoned("p", "s", "here")
    assert next(first).path.is_dir()
    assert list(workdir.abandoned("p", "s", "here")) == []


def test_exclusive_lets_one_in_at_a_time():
    code = """
        from millstream.destinations.machine_lock import machine_lock
        with machine_lock("db", what="the database"):
            print("in", flush=True)
    """
    with machine_lock("db", what="the database"):
        waiting = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1.5)
    assert waiting.communicate(timeout=30)[0].strip() == "in"


def test_a_writer_that_dies_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "accepted.json"
    atomic_write.write(file, "first")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        atomic_write.write(file, "second")
    assert file.read_text() == "first"


def test_a_home_that_cannot_be_written_is_named_with_the_fix(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path / "file"))
    for use in (workdir.create("shop", "orders", "here"), machine_lock("x", what="x")):
        with pytest.raises(ConfigError, match="can't be made: Not a directory") as caught, use:
            pass
        assert "MILLSTREAM_HOME" in str(caught.value)
