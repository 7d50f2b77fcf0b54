import os
import re
import subprocess
import sys

import pytest
from dagster._utils.schedules import is_valid_cron_string
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.config import (
    PipelineConfig,
    credential,
    cron,
    load_dotenv,
    parse_pipeline,
    project_of,
    read_pipeline,
)
from millstream.errors import ConfigError

CRON_PARTS = (  # noqa: SIM905
    "* ? L 0 1 5 01 12 31 59 60 7 8 mon sat sun#2 mon#6 1# jan FEB dec L5 R */5 */0 1-5 5-1 1-5/2 "
    "5/15 *-5 1- -1 a fri-sun 1-2-3 1,2 1,,2 2/ /2 nov-feb,3 1-L L-1 ** 1.5 +1 ²"
).split()
GITHUB = {"type": "github", "repositories": ["duckdb/duckdb"]}


def parse(tmp_path, **attributes):
    base = {"name": "github_issues", "source": GITHUB}
    return parse_pipeline({**base, **attributes}, where="defs.yaml", project=tmp_path)


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "defs.yaml"
    path.write_text(text)
    return path


GOOD = """\
type: millstream.Pipeline
attributes:
  name: github_issues
  source: {type: github, repositories: [duckdb/duckdb]}
"""


def test_defaults(tmp_path):
    config = parse(tmp_path)
    assert config.source.streams == ("issues",)
    assert config.destination.type == "duckdb"
    assert config.dataset == "github_issues"
    assert parse(tmp_path, destination={"dataset": "raw"}).dataset == "raw"


def test_a_primary_key_is_a_name_or_a_list(tmp_path):
    streams = {"a": {"path": "x", "primary_key": "id"}, "b": {"path": "y", "primary_key": ["k"]}}
    config = parse(tmp_path, source={"type": "files", "streams": streams})
    assert [each.primary_key for each in config.source.streams.values()] == [("id",), ("k",)]


@pytest.mark.parametrize(
    ("attributes", "message", "hint"),
    [
        ({"nme": "x"}, "nme: there is no such attribute", "did you mean `name`?"),
        ({"name": "GitHub Issues"}, "name: must be lower case, snake_case", None),
        ({"name": None}, "name: must be text", None),
        ({"name": "x" * 49}, "name: must have at most 48 characters", None),
        ({"source": {"type": "github"}}, "name at least one of `repositories`", None),
        ({"source": {**GITHUB, "repositories": ["duckdb"]}}, "not of the form owner/name", None),
        (
            {"source": {**GITHUB, "streams": ["isues"]}},
            " source.streams.0: must be 'issues'",
            "did you mean `issues`?",
        ),
        (
            {"source": {**GITHUB, "token": "ghp_x"}},
            " source.token: credentials do not belong in a file that is committed",
            "credentials belong in .env: GITHUB_TOKEN",
        ),
        (
            {"source": {"type": "mongodb", "connection_string": "mongodb://a:b@c"}},
            " source.connection_string: credentials do not belong",
            "credentials belong in .env: MONGODB_URI",
        ),
        (
            {"destination": {"type": "postgres", "password": "x"}},
            " destination.password: credentials do not belong",
            "credentials belong in .env: DESTINATION__POSTGRES__CREDENTIALS",
        ),
        (
            {"alerts": [{"type": "slack", "url": "https://hooks"}]},
            " alerts.0.url: credentials do not belong",
            "addresses and passwords belong in .env; `url_from: NAME` names the variable",
        ),
        # what was refused is never what is suggested
        (
            {"source": {**GITHUB, "path": "x"}},
            " source.path: there is no such attribute",
            "`path` belongs under `source` of type dlt",
        ),
        ({"dataset": "x"}, " dataset: there is no such", "`dataset` belongs under `destination`"),
        (
            {"destination": {"schedule": "x"}},
            " destination.schedule: there is no such attribute",
            "`schedule` belongs at the top, beside `name`",
        ),
        ({"alerts": [{"type": "slack", "at_lest": "safe"}]}, "at_lest", "did you mean `at_least`?"),
        ({"alerts": [{"type": "slack", "at_least": "saf"}]}, "at_least", "did you mean `safe`?"),
        (
            {"source": {"type": "mongodb", "settings": {"a": {"cursr": "b"}}}},
            " source.settings.a.cursr: there is no such attribute",
            "did you mean `cursor`?",
        ),
        ({"retries": 3}, " retries: there is no such attribute", None),
        (
            {"schedule": "61 * * * *"},
            " schedule: '61 * * * *' is not a cron expression (minute: '61' is not 0 to 59)",
            "five fields: minute hour day month weekday; `0 6 * * *` is every day at 6:00",
        ),
        ({"schedule": "0 6 * *"}, "is not a cron expression (4 fields instead of 5)", None),
        ({"source": {"type": "files", "streams": ["a"]}}, " source.streams: must be names", None),
        ({"source": {"type": "files", "streams": {}}}, " source.streams: must have at least", None),
        (
            {"source": {"type": "files", "streams": {"a": {"path": "x", "maps": "tags"}}}},
            " source.streams.a.maps: must be a list, such as [a, b]",
            None,
        ),
        (
            {"source": {"type": "dlt", "path": "nonsense"}},
            " source.path: must be `package.module:function`",
            None,
        ),
        ({"alerts": [{"type": "email"}]}, " alerts.0.host: is missing", None),
        ({"folder": "/etc"}, "folder: there is no such attribute", None),
        (
            {"source": {"type": "fiels"}},
            "source.type: must be one of 'github', 'dlt', 'mongodb', 'files'",
            "did you mean `files`?",
        ),
        ({"source": {}}, "source.type: is missing", None),
        (
            {"destination": {"options": {"credentials": "x"}}},
            "DESTINATION__DUCKDB__CREDENTIALS",
            None,
        ),
    ],
)
def test_wrong_attributes_name_the_field(tmp_path, attributes, message, hint):
    with pytest.raises(ConfigError) as raised:
        parse(tmp_path, **attributes)
    assert raised.value.message.startswith("defs.yaml: ")
    assert message in raised.value.message
    assert hint is None or raised.value.hint == hint


def test_each_of_several_faults_has_its_own_remedy(tmp_path):
    streams = {"type": "github", "repositories": ["a/b"], "streams": ["isues"], "per_pag": 10}
    with pytest.raises(ConfigError) as raised:
        parse(tmp_path, source=streams, retries=3)
    where, *faults = raised.value.message.splitlines()
    assert where == "defs.yaml: "
    assert [fault.split(": ")[0].strip() for fault in faults] == [
        "source.streams.0", "source.per_pag", "retries",
    ]  # fmt: skip
    assert faults[0].endswith("(did you mean `issues`?)")
    assert faults[1].endswith("(did you mean `per_page`?)")
    assert raised.value.hint is None


@settings(max_examples=300)
@given(st.lists(st.sampled_from(CRON_PARTS), min_size=5, max_size=5).map(" ".join))
def test_cron_expressions_are_those_of_dagster(expression):
    is_valid = is_valid_cron_string(expression)
    assert (cron.problem(expression) is None) == is_valid
    assert re.search(cron.pattern(), expression) or not is_valid


def test_no_value_of_a_wrong_field_is_shown(tmp_path):
    with pytest.raises(ConfigError) as raised:
        parse(tmp_path, source={**GITHUB, "token": "ghp_secret"})
    assert "ghp_secret" not in str(raised.value)


def test_reads_the_only_pipeline_below_a_folder(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    path = write(tmp_path / "src" / "defs" / "issues", GOOD)
    config = read_pipeline(tmp_path)
    assert isinstance(config, PipelineConfig)
    assert config.folder == path.parent
    assert config.project == tmp_path.resolve()


def test_two_pipelines_below_a_folder_are_named(tmp_path):
    write(tmp_path / "a", GOOD)
    write(tmp_path / "b", GOOD)
    with pytest.raises(ConfigError, match=r"more than one pipeline: a/defs.yaml, b/defs.yaml"):
        read_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type: [", "not YAML"),
        ("type: other.Component\nattributes: {}", "not a Millstream pipeline"),
        ("- a", "not a Millstream pipeline"),
        (GOOD + "---\n" + GOOD, "2 pipelines in one file"),
        (GOOD.replace("duckdb/duckdb", "'{{ now() }}'"), "is Dagster's alone"),
        (GOOD.replace("duckdb/duckdb", "'{{ env.NOT_SET }}'"), "NOT_SET is not set"),
        ("type: millstream.Pipeline\n", "`attributes` is missing"),
    ],
)
def test_files_that_are_no_pipeline(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_pipeline(write(tmp_path, text))


def test_a_fault_in_yaml_names_the_file_and_the_line(tmp_path):
    path = write(tmp_path, "type: millstream.Pipeline\nattributes: [x\n")
    with pytest.raises(ConfigError) as raised:
        read_pipeline(path)
    assert (
        raised.value.message
        == f"{path}, line 3: not YAML: expected ',' or ']', but got '<stream end>'"
    )


@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_is_no_text(tmp_path, named):
    path = write(tmp_path, "")
    path.write_bytes(b"type: millstream.Pipeline\n\xff")
    with pytest.raises(ConfigError, match=r"defs\.yaml: not UTF-8"):
        read_pipeline(path if named else tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, GOOD)

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    for each in (path, tmp_path):
        with pytest.raises(ConfigError, match=r"defs\.yaml: can't be read: Permission denied"):
            read_pipeline(each)


def test_missing_files(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_pipeline(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"no defs\.yaml"):
        read_pipeline(tmp_path)


def test_project_is_the_nearest_folder_with_a_pyproject(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert project_of(deep) == deep.resolve()
    (tmp_path / "pyproject.toml").touch()
    assert project_of(deep / "defs.yaml") == tmp_path.resolve()


def test_environment_wins_over_dotenv(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("MILLSTREAM_TEST_A=file\nMILLSTREAM_TEST_B=file\n")
    monkeypatch.setenv("MILLSTREAM_TEST_A", "environment")
    monkeypatch.setenv("MILLSTREAM_TEST_B", "")
    monkeypatch.delenv("MILLSTREAM_TEST_B")
    load_dotenv(tmp_path)
    assert credential("MILLSTREAM_TEST_A") == "environment"
    assert credential("MILLSTREAM_TEST_B") == "file"


def test_credentials_come_from_the_first_name_that_is_set(monkeypatch):
    monkeypatch.setenv("SOURCES__GITHUB__ACCESS_TOKEN", "second")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    assert credential("GITHUB_TOKEN", "SOURCES__GITHUB__ACCESS_TOKEN") == "second"
    monkeypatch.setenv("GITHUB_TOKEN", "first")
    assert credential("GITHUB_TOKEN", "SOURCES__GITHUB__ACCESS_TOKEN") == "first"


def test_credentials_are_found_in_the_projects_secrets_toml(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    write(tmp_path, GOOD)
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text('[sources.github]\naccess_token = "toml"\n')
    code = (
        "import sys; from pathlib import Path; from millstream import config;"
        "config.read_pipeline(Path(sys.argv[1]));"
        "print(config.credential('GITHUB_TOKEN', 'SOURCES__GITHUB__ACCESS_TOKEN'))"
    )
    unset = {"GITHUB_TOKEN", "SOURCES__GITHUB__ACCESS_TOKEN", "DLT_PROJECT_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={name: value for name, value in os.environ.items() if name not in unset},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "toml"


def test_environment_variables_are_filled_in_as_dagster_does(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TEST_OWNER", "duckdb")
    text = GOOD.replace("duckdb/duckdb", "'{{ env.MILLSTREAM_TEST_OWNER }}/duckdb'")
    config = read_pipeline(write(tmp_path, text))
    assert config.source.repositories == ("duckdb/duckdb",)


def test_other_components_may_share_the_file(tmp_path):
    other = "type: dagster.DefsFolderComponent\nattributes: {}\n---\n"
    assert read_pipeline(write(tmp_path, other + GOOD)).name == "github_issues"
