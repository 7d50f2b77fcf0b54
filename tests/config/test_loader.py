"""A pipeline read from its file, as Dagster reads it."""

import pytest

from millstream.config import PipelineConfig, project_of, read_pipeline
from millstream.errors import ConfigError

GOOD = """\
type: millstream.Pipeline
attributes:
  name: github_issues
  source: {type: github, repositories: [duckdb/duckdb]}
"""


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "defs.yaml"
    path.write_text(text)
    return path


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


def test_environment_variables_are_filled_in_as_dagster_does(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_TEST_OWNER", "duckdb")
    text = GOOD.replace("duckdb/duckdb", "'{{ env.MILLSTREAM_TEST_OWNER }}/duckdb'")
    config = read_pipeline(write(tmp_path, text))
    assert config.source.repositories == ("duckdb/duckdb",)


def test_other_components_may_share_the_file(tmp_path):
    other = "type: dagster.DefsFolderComponent\nattributes: {}\n---\n"
    assert read_pipeline(write(tmp_path, other + GOOD)).name == "github_issues"
