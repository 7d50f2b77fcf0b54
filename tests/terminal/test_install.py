"""Each way to install that the README names, in a new environment; then a first run."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from services.installed import REPOSITORY, Installed
from services.terminal import Terminal

WAYS = re.findall(r'^pip install "(.*millstream.*)"$', (REPOSITORY / "README.md").read_text(), re.M)
HERE = {
    "file:///path/to/the/clone": REPOSITORY.as_uri(),
    "git+https://HOST/PATH/millstream.git": f"git+file://localhost{REPOSITORY}",
}


@pytest.fixture
def environment(tmp_path: Path) -> Installed:
    """A new one, which finds what Millstream needs, and pip's build tool, in that of the tests."""
    home = tmp_path / "environment"
    run = [sys.executable, "-m", "venv", home]
    subprocess.run(run, check=True, capture_output=True, timeout=300)
    (library,) = home.glob("lib/python*/site-packages")
    # of a folder that a .pth file names, the .pth files are not read: the clone's stays unread
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(home / "bin")


def test_the_readme_names_three_ways() -> None:
    assert len(WAYS) == 3
    assert all(any(place in way for place in (*HERE, ".whl")) for way in WAYS)


@pytest.mark.nightly
@pytest.mark.parametrize("way", WAYS, ids=["clone", "git", "wheel"])
def test_what_is_installed_runs(way: str, environment: Installed, tmp_path: Path) -> None:
    for placeholder, place in HERE.items():
        way = way.replace(placeholder, place)
    if ".whl" in way:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
        subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True, timeout=300)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    pip = Terminal(
        environment.command("python", "-m", "pip", "install", *options, way), tmp_path, columns=120
    )
    assert pip.wait() == 0, pip.text
    for arguments in (("init", "files", "duckdb", "p"), ("doctor", "p"), ("run", "p")):
        typed = Terminal(environment.command("millstream", *arguments), tmp_path, columns=120)
        assert typed.wait() == 0, typed.text
    assert re.search(r"orders +3 +3 ", typed.text), typed.text
    where = "import millstream; print(millstream.__file__)"
    found = subprocess.run(
        environment.command("python", "-c", where), capture_output=True, text=True, check=True
    )
    assert str(environment.programs.parent) in found.stdout
