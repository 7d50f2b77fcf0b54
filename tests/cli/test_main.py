"""The command line as a whole: help, errors, exit codes, and what it must not import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import millstream
from millstream.cli import main
from millstream.cli.command import Command
from millstream.cli.commands import ROOT
from millstream.cli.parser import help_of


def every_command(command: Command = ROOT, path: str = "millstream") -> list[tuple[str, Command]]:
    found = [(path, command)]
    for sub in command.commands:
        found += every_command(sub, f"{path} {sub.name}")
    return found


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*found, id=found[0]) for found in every_command()]
)
def test_every_command_has_help_with_an_example(
    path: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path.split()[1:], "--help"]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: {path}")
    assert command.examples
    assert all(f"  {example}\n" in printed + "\n" for example in command.examples)
    assert all(example.startswith(path) for example in command.examples)
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert (command.run is None) == bool(command.commands)


def test_help_imports_nothing_heavy() -> None:
    heavy = ["dlt", "dagster", "pydantic", "yaml", "rich", "pyarrow", "duckdb", "requests", "numpy"]
    heavy += ["numba"]
    script = (
        "import sys; from millstream.cli import main; "
        "codes = [main(['--help']), main(['run', '--help'])]; "
        f"loaded = [name for name in {heavy} if name in sys.modules]; "
        "sys.exit(f'{codes} {loaded}' if any(codes) or loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"millstream {millstream.__version__}\n"


def test_no_command_shows_the_commands_and_is_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "commands:\n  init" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["rnu"], "no such command: 'rnu'", "did you mean 'run'?"),
        (["xyzzy"], "no such command: 'xyzzy'", "`millstream --help` lists the commands"),
        (["--verison"], "no such option: '--verison'", "did you mean '--version'?"),
        (["run", "--full"], "no such option: '--full'", "did you mean '--full-refresh'?"),
        (["run", "--strem=x"], "no such option: '--strem'", "did you mean '--stream'?"),
        (["run", "a", "b"], "unexpected argument: 'b'", "`millstream run --help`"),
        (["run", "--stream"], "expected one argument", "`millstream run --help`"),
        (["init"], "required: SOURCE, DESTINATION", "`millstream init --help`"),
        (["init", "github_isues", "duckdb"], "no such source: 'github_isues'", "'github_issues'?"),
        (["init", "github_issues", "duckbd"], "no such destination: 'duckbd'", "'duckdb'?"),
        (
            ["init", "mongodb", "duckdb", "--repository", "a/b"],
            "mongodb takes no repositories",
            "for github_issues",
        ),
        (["demo", "--port", "0"], "'0' is not an integer from 1 to 65535", "demo --help"),
        (["schema", "log", "--limit", "-1"], "'-1' is not an integer >= 0", "log --help"),
        (["schema", "diff", "--pages", "x"], "'x' is not an integer >= 0", "diff --help"),
        (["quarantine", "replay", "--row", "{}"], "--row needs one --id", "quarantine list"),
        (["quarantine", "replay", "--id=1", "--row={x"], "--row is not JSON", "single quotes"),
        (["quarantine", "replay", "--id=1", '--row={"x": NaN}'], "--row is not JSON", "quotes"),
    ],
)
def test_a_wrong_command_line_has_a_suggestion(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert "\n\nhint: " in printed.err
    assert hint in printed.err
    assert "Traceback" not in printed.err


FILES = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: files, streams: {orders: {path: "{partition}.jsonl"}}}
  partitions: {type: time, every: day, start: 2024-01-01}
  destination: {type: duckdb, database: warehouse.duckdb}
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--stream", "order"], "millstream run: no such stream: 'order'"),
        (["schema", "show", "--stream=order"], "millstream schema show: no such stream: 'order'"),
        (["quarantine", "list", "--stream=order"], "millstream quarantine list: no such stream"),
        (["quarantine", "list", "--since=friday"], "--since: 'friday' is not a time"),
        (["run", "--partition", "2024-01-99"], "run: --partition: no partition '2024-01-99'"),
    ],
)
def test_a_value_that_does_not_fit_the_pipeline(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "defs.yaml").write_text(FILES)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "\n\nhint: " in printed


def test_a_project_of_several_pipelines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs, alerts and Dagster hand out commands that name a stream: these work as they are."""
    for name, streams in {"shop": "orders, customers", "crm": "orders", "odd": "x"}.items():
        made = "".join(f"{each}: {{path: a.jsonl}}, " for each in streams.split(", "))
        text = f"name: {name}, source: {{type: files, streams: {{{made}}}}}"
        (tmp_path / "defs" / name).mkdir(parents=True)
        (tmp_path / "defs" / name / "defs.yaml").write_text(
            f"type: millstream.Pipeline\nattributes: {{{text}}}\n"
        )
    (tmp_path / "defs/odd/defs.yaml").write_text("type: millstream.Pipeline\n")
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        main(["pending", "list", *arguments])
        printed = capsys.readouterr()
        return printed.out + printed.err

    nothing = "no packages are pending"
    assert nothing in said("--stream", "customers")
    assert nothing in said("shop", "--stream", "orders")
    assert nothing in said("crm")
    printed = said("--stream", "orders")
    assert "more than one pipeline has 'orders': crm, shop" in printed
    assert "`millstream pending list crm --stream orders`" in printed
    printed = said()
    assert "more than one pipeline: defs/crm/defs.yaml, defs/odd/defs.yaml" in printed
    assert "by its `name`" in printed
    assert "store: no such file, nor a pipeline here" in said("store")


@pytest.mark.parametrize("command", ["schema log", "quarantine list", "report"])
def test_a_history_that_cannot_be_read_is_no_bug(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "defs.yaml").write_text(FILES)
    (tmp_path / "warehouse.duckdb").write_text("no database at all")
    assert main([*command.split(), str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert "not a valid DuckDB database file\n\nhint: name another file" in printed


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "run"]) == 0
    command = next(sub for sub in ROOT.commands if sub.name == "run")
    assert capsys.readouterr().out == help_of(command, "millstream run")


def test_an_error_is_its_message_and_hint_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "none")]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {tmp_path / 'none'}: no such file\n\nhint: ")


@pytest.mark.parametrize("where", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*where, str(tmp_path / "none")]) == 1

    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert "read_pipeline" in printed


def test_a_traceback_shows_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millstream import config

    def fails(_: Path) -> None:
        raise ValueError("connecting to postgresql://me:hunter2secret@db/x with ghp_0123456789abcd")

    monkeypatch.setenv("SOME_API_TOKEN", "supersecretvalue")
    monkeypatch.setattr(config, "read_pipeline", fails)
    for arguments in (["run"], ["--debug", "run"]):
        assert main([*arguments, str(tmp_path / "supersecretvalue")]) == 1
        printed = capsys.readouterr().err
        assert "postgresql://me:***@db/x" in printed
        assert "hunter2" not in printed
        assert "0123456789" not in printed
        assert ("Traceback" in printed) == ("--debug" in arguments)


def test_no_colour_unless_a_terminal_shows_it(tmp_path: Path) -> None:
    """Through a pipe, even where colours are asked for by nobody but the terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "run", str(tmp_path / "none")],
        capture_output=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize(("no_color", "expected"), [("", True), ("1", False)])
def test_colour_on_a_terminal_unless_no_color(
    no_color: str, expected: bool, tmp_path: Path
) -> None:
    import pty

    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "millstream", "run", str(tmp_path / "none")],
        stderr=writer,
        env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": no_color},
    )
    os.close(writer)
    shown = b""
    try:
        while chunk := os.read(reader, 4096):
            shown += chunk
    except OSError:  # Linux says EIO when the other side is gone
        pass
    os.close(reader)
    assert process.wait() == 1
    assert (b"\x1b[" in shown) is expected
    assert b"no such file" in shown


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "doctor", str(tmp_path)],
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_ctrl_c_says_that_nothing_was_loaded(tmp_path: Path) -> None:
    script = (
        "import sys, time; from millstream.cli import main; from millstream import config; "
        "config.read_pipeline = lambda path: (print('ready', flush=True), time.sleep(60)); "
        "sys.exit(main(['run']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a shell's background job ignores SIGINT, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error == b"interrupted: before any stream was read; nothing was loaded\n"


def test_doctor_without_a_pipeline_still_says_what_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(tmp_path), "--json"]) == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    by_name = {check["name"]: check for check in answer["checks"]}
    assert by_name["dlt"]["ok"]
    assert not by_name["pipeline"]["ok"]
    assert "millstream init" in by_name["pipeline"]["hint"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"maps": {"order": ["prices"]}}, "maps: pipeline 'shop' has no stream 'order'"),
        ({"dedup_sort": {"order": "at"}}, "dedup_sort: pipeline 'shop' has no stream 'order'"),
        (
            {"partitions": {"type": "static", "values": ["eu"], "streams": ["order"]}},
            "partitions.streams: pipeline 'shop' has no stream 'order'",
        ),
        (
            {"partitions": {"type": "static", "values": ["eu"], "fields": {"order": "region"}}},
            "partitions.fields: pipeline 'shop' has no stream 'order'",
        ),
        (
            {
                "partitions": {
                    "type": "time",
                    "every": "day",
                    "start": "2024-01-01",
                    "cursors": {"order": "at"},
                }
            },
            "partitions.cursors: pipeline 'shop' has no stream 'order'",
        ),
        (
            {"partitions": {"type": "static", "values": ["eu"]}},
            "which field tells the partition of a row?",
        ),
    ],
)
def test_what_is_said_of_a_stream_that_is_not_there(
    more: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "orders.jsonl").write_text('{"id": 1}\n')
    attributes = {
        "name": "shop",
        "source": {"type": "files", "streams": {"orders": {"path": "orders.jsonl"}}},
        "destination": {"type": "duckdb", "database": "warehouse.duckdb"},
        **more,
    }
    (tmp_path / "defs.yaml").write_text(json.dumps({"attributes": attributes}))
    monkeypatch.chdir(tmp_path)
    is_partitioned = "partitions" in more and "streams" not in more["partitions"]
    key = "2024-01-01" if "cursors" in said else "eu"
    assert main(["run", *(["--partition", key] if is_partitioned else [])]) == 1
    assert said in capsys.readouterr().err
    if "which field" not in said:
        assert main(["doctor"]) == 1
        assert said in capsys.readouterr().out
