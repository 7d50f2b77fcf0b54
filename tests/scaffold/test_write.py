"""Writing a project: everything or nothing, nothing overwritten, nothing outside the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

import jsonschema
import pytest
import yaml

from millstream.cli import main
from millstream.errors import ConfigError
from millstream.scaffold import DESTINATIONS, SOURCES, write_project
from millstream.scaffold.names import package_name, project_name
from millstream.scaffold.write import write_files


def everything_in(folder: Path) -> dict[str, bytes | str | None]:
    """All that lies below a folder, contents and links' targets included."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_pair_is_written_without_a_placeholder_left(
    source: str, destination: str, tmp_path: Path
) -> None:
    project = write_project(source, destination, tmp_path / "my_project")

    written = everything_in(project.folder)
    assert {
        "pyproject.toml",
        "README.md",
        "AGENTS.md",
        ".gitignore",
        ".env.example",
        "src/my_project/definitions.py",
        f"src/my_project/defs/{source}/defs.yaml",
        f"src/my_project/defs/{source}/defs.schema.json",
        "tests/test_pipeline.py",
    } <= written.keys()
    # the tables are in it where they are known beforehand
    schema = f"src/my_project/defs/{source}/schema.yaml"
    assert (schema in written) == (SOURCES[source].known == "tables")
    texts = {name: text for name, text in written.items() if isinstance(text, bytes)}
    assert len(texts) == len(project.files)
    # what an editor checks the file by, beside it; templates are a part of that
    (schema,) = [texts.pop(name) for name in [*texts] if name.endswith("defs.schema.json")]
    assert project.defs.read_text().startswith("# yaml-language-server: $schema=defs.schema.json\n")
    validator = jsonschema.Draft202012Validator(json.loads(schema))
    validator.validate(yaml.safe_load(project.defs.read_text()))
    assert not validator.is_valid({"type": "millstream.Pipeline", "attributes": {"name": 3}})
    assert not [name for name, text in texts.items() if b"{{" in text or b"}}" in text]
    assert b"\n.env\n" in texts[".gitignore"]
    assert not (project.folder / ".env").exists()
    assert project.defs.is_file()


def test_a_project_names_the_drivers_that_dlt_needs(tmp_path: Path) -> None:
    for name in DESTINATIONS:
        project = write_project("files", name, tmp_path / f"my_{name}")
        needed = (project.folder / "pyproject.toml").read_text(encoding="utf-8")
        assert (f'"dlt[{name}]"' in needed) == (DESTINATIONS[name].folder == "untested")
        assert ('"duckdb<2"' in needed) == (name == "ducklake")


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    mine = tmp_path / "project" / "tests" / "conftest.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    before = everything_in(tmp_path)

    with pytest.raises(ConfigError, match=r"already there: tests/conftest\.py\n"):
        write_project("github_issues", "duckdb", tmp_path / "project")

    assert everything_in(tmp_path) == before


def test_a_second_time_is_refused(tmp_path: Path) -> None:
    write_project("github_issues", "duckdb", tmp_path / "project")
    before = everything_in(tmp_path)

    with pytest.raises(ConfigError, match="already there"):
        write_project("github_issues", "postgres", tmp_path / "project")

    assert everything_in(tmp_path) == before


def test_a_folder_with_other_files_is_fine(tmp_path: Path) -> None:
    (tmp_path / "project" / ".git").mkdir(parents=True)
    (tmp_path / "project" / "LICENSE").write_text("mine")

    write_project("github_issues", "duckdb", tmp_path / "project")

    assert (tmp_path / "project" / "LICENSE").read_text() == "mine"


@pytest.mark.parametrize(
    "link", ["project", "project/src", "project/tests", "project/README.md", "project/src/project"]
)
@pytest.mark.parametrize("dangling", [False, True])
def test_no_link_is_followed(link: str, dangling: bool, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    if not dangling:
        elsewhere.mkdir()
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(elsewhere)
    before = everything_in(tmp_path)

    with pytest.raises(ConfigError, match="is a link to"):
        write_project("github_issues", "duckdb", tmp_path / "project")

    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/tmp/outside"])
def test_no_path_leads_outside(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leads out of the project"):
        write_files({PurePosixPath("fine"): "", PurePosixPath(path): ""}, tmp_path / "project")
    assert everything_in(tmp_path) == {}


def test_a_disk_that_refuses_midway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, opened = os.open, 0

    def full(path: Path, *rest: int) -> int:
        nonlocal opened
        if str(path).startswith(str(tmp_path)):
            opened += 1
            if opened == 7:
                raise OSError(28, "No space left on device", str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        write_project("github_issues", "duckdb", tmp_path / "project")

    assert opened == 7
    assert everything_in(tmp_path) == {}


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "src").write_text("mine")
    with pytest.raises(ConfigError, match="src: is a file"):
        write_project("github_issues", "duckdb", tmp_path / "project")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="file: is a file"):
        write_project("github_issues", "duckdb", tmp_path / "file")


@pytest.mark.parametrize("name", ["json", "dlt", "dagster", "millstream", "tests", "class", "123"])
def test_a_package_name_that_would_hide_another_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        write_project("github_issues", "duckdb", tmp_path / name)
    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize(
    ("folder", "project", "package"),
    [("My Issues", "my-issues", "my_issues"), ("a.b-c_d", "a-b-c-d", "a_b_c_d")],
)
def test_names(folder: str, project: str, package: str) -> None:
    assert (project_name(folder), package_name(folder)) == (project, package)


def test_the_command_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["init", "github_issues", "postgres", "--repository", "a/b", "--repository", "c/d"]

    assert main(arguments) == 0

    printed = capsys.readouterr().out
    assert "cd github_issues" in printed
    assert "cp .env.example .env" in printed
    assert "millstream doctor" in printed
    assert "dg dev" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())
    defs = tmp_path / "github_issues/src/github_issues/defs/github_issues/defs.yaml"
    assert "repositories:\n      - a/b\n      - c/d\n" in defs.read_text()
    assert main(arguments) == 1


@pytest.mark.parametrize("name", ["nothing", "a/b\n  evil: 1", "a/b/c", "a/{{ b }}", "https://x/y"])
def test_only_a_repository_goes_into_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "project"
    assert main(["init", "github_issues", "duckdb", str(folder), "--repository", name]) == 2
    assert "owner/name" in capsys.readouterr().err
    assert not folder.exists()


def test_databases_are_written_into_the_pipeline(tmp_path: Path) -> None:
    where = str(tmp_path / "loads")
    named = [*("--database", "shop"), *("--database", "crm-2"), *("--database", "shop")]
    assert main(["init", "mongodb", "duckdb", where, *named]) == 0
    text = (tmp_path / "loads/src/loads/defs/mongodb/defs.yaml").read_text()
    assert "    databases:\n      - shop\n      - crm-2\n    #" in text


@pytest.mark.parametrize("name", ["on", "12", "a b", "x\n", "-x", "a: b", ""])
def test_what_is_no_database_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "mongodb", "duckdb", str(tmp_path / "x"), f"--database={name}"]) == 2
    assert "not a database" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_mistyped_absolute_path_makes_no_project(tmp_path):
    with pytest.raises(ConfigError, match=r"typo does not exist"):
        write_project("github_issues", "duckdb", tmp_path / "typo" / "project")
    assert not (tmp_path / "typo").exists()


def test_doctor_says_that_the_schema_of_editors_is_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = write_project("files", "duckdb", tmp_path / "lake")
    assert main(["doctor", str(project.folder)]) == 0
    assert "defs.schema.json" not in capsys.readouterr().out
    (project.defs.parent / "defs.schema.json").write_text("{}")

    assert main(["doctor", str(project.folder)]) == 0

    said = capsys.readouterr().out
    assert "defs.schema.json is of another version" in said
    assert "python -m millstream.config.json_schema > " in said
