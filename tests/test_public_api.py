import subprocess
import sys

import pytest

import millstream


@pytest.mark.parametrize("name", millstream.__all__)
def test_exported_members_exist(name):
    assert getattr(millstream, name) is not None


def test_all_is_sorted_and_complete():
    assert sorted(millstream.__all__) == millstream.__all__
    assert set(millstream._HOMES) | {"__version__"} == set(millstream.__all__)


def test_unknown_member_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'asets'"):
        millstream.asets  # noqa: B018


@pytest.mark.parametrize("name", ["assets", "definitions", "MillstreamResource", "Pipeline"])
def test_what_needs_dagster_says_how_to_install_it(name):
    code = f"import sys\nsys.modules['dagster'] = None\nfrom millstream import {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"millstream.{name} needs Dagster" in done.stderr
    assert "pip install 'millstream[dagster]'" in done.stderr


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import millstream", {"dlt", "dagster", "pydantic", "pyarrow"}),
        ("import millstream.config", {"dlt", "dagster", "pyarrow", "requests"}),
        ("import millstream.schema_changes", {"dlt", "dagster", "pyarrow"}),
        ("import millstream.runs.runner", {"dlt", "dagster", "pyarrow", "requests"}),
    ],
)
def test_importing_stays_light(statement, unwanted):
    code = f"{statement}\nimport sys\nprint(*(set(sys.modules) & {unwanted!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
