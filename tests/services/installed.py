"""Millstream as its users have it: a wheel, installed in a new environment, far from the clone.

What it depends on comes from the environment of the tests, so that nothing is downloaded; the
clone, which is installed there for editing, does not.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """A virtual environment.

    Attributes:
        programs: the folder with `millstream` and `python`.
    """

    programs: Path

    def command(self, program: str, *arguments: str) -> list[str]:
        return [str(self.programs / program), *arguments]


def install(folder: Path) -> Installed:
    """Build the wheel and install it in a new environment below `folder`."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    home = folder / "environment"
    run = [sys.executable, "-m", "venv", home]
    subprocess.run(run, check=True, capture_output=True, timeout=300)
    python = home / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", wheel]
    subprocess.run(pip, check=True, capture_output=True, timeout=300)
    # of a folder that a .pth file names, the .pth files are not read: the clone's stays unread
    (library,) = home.glob("lib/python*/site-packages")
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(home / "bin")
