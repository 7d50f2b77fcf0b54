"""Credentials and folders from the environment, `.env` and dlt's `secrets.toml`."""

import os
import subprocess
import sys

import pytest

from millstream.config.environment import (
    credential,
    dagster_url,
    data_dir,
    load_dotenv,
    make_private_folder,
)
from millstream.errors import ConfigError

PIPELINE = """\
type: millstream.Pipeline
attributes: {name: issues, source: {type: github, repositories: [a/b]}}
"""


def test_environment_wins_over_dotenv(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("MILLSTREAM_TEST_A=file\nMILLSTREAM_TEST_B=file\n")
    monkeypatch.setenv("MILLSTREAM_TEST_A", "environment")
    monkeypatch.setenv("MILLSTREAM_TEST_B", "")
    monkeypatch.delenv("MILLSTREAM_TEST_B")
    load_dotenv(tmp_path)
    assert credential("MILLSTREAM_TEST_A") == "environment"
    assert credential("MILLSTREAM_TEST_B") == "file"


def test_a_dotenv_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """In a container it belongs to another user, and root reads all."""
    (tmp_path / ".env").write_bytes(b"A=s3cret\xff")
    with pytest.raises(ConfigError, match=r"\.env: can't be read: it is not UTF-8") as refused:
        load_dotenv(tmp_path)
    assert "s3cret" not in str(refused.value)

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dotenv.load_dotenv", deny)
    with pytest.raises(ConfigError, match="can't be read: Permission denied"):
        load_dotenv(tmp_path)


def test_credentials_come_from_the_first_name_that_is_set(monkeypatch):
    monkeypatch.setenv("SOURCES__GITHUB__ACCESS_TOKEN", "second")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    assert credential("GITHUB_TOKEN", "SOURCES__GITHUB__ACCESS_TOKEN") == "second"
    monkeypatch.setenv("GITHUB_TOKEN", "first")
    assert credential("GITHUB_TOKEN", "SOURCES__GITHUB__ACCESS_TOKEN") == "first"


def test_credentials_are_found_in_the_projects_secrets_toml(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "defs.yaml").write_text(PIPELINE)
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


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", None),
        (" ", None),
        ("/", None),
        (" https://d.example.org/x/ ", "https://d.example.org/x"),
    ],
)
def test_the_address_of_dagster_has_no_slash_at_its_end(monkeypatch, value, url):
    monkeypatch.setenv("MILLSTREAM_DAGSTER_URL", value)
    assert dagster_url() == url


def test_runs_keep_their_packages_in_millstream_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path / "kept"))
    assert data_dir() == tmp_path / "kept"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MILLSTREAM_HOME", "")
    assert data_dir() == tmp_path / ".millstream"


def test_folders_of_runs_are_their_users_alone(monkeypatch, tmp_path):
    folder = tmp_path / "a" / "b"
    make_private_folder(folder)
    make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/x: can't be made: Not a directory") as raised:
        make_private_folder(tmp_path / "file" / "x")
    assert raised.value.hint == f"let the user that runs this write to {tmp_path / 'file'}"
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError) as raised:
        make_private_folder(tmp_path / "file" / "x")
    assert "MILLSTREAM_HOME" in raised.value.hint
