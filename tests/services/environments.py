"""Environments of programs that can't share that of the tests, in `.cache`, made on first use."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from services import CACHE, missing


def python_with(
    name: str,
    packages: Sequence[str],
    *,
    base: Callable[[], str] = lambda: sys.executable,
    override: str = "",
) -> Path:
    """The Python of an environment with these packages; test processes wait for each other.

    Args:
        name: of the environment, with a version in it: one that is there is taken as it is.
        base: finds the Python to make it with.
        override: a requirement that holds against what packages ask for.
    """
    CACHE.mkdir(exist_ok=True)
    environment = CACHE / name
    python = environment / "bin" / "python"
    done = environment / ".installed"
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and python.exists():
            return python
        shutil.rmtree(environment, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
            overrides.write(f"{override}\n")
            overrides.flush()
            for command in (
                [*uv(), "venv", "-q", "--python", base(), environment],
                [
                    *[*uv(), "pip", "install", "-q", "--python", python],
                    *["--override", overrides.name, *packages],
                ],
            ):
                ran = subprocess.run(command, capture_output=True, text=True, check=False)
                if ran.returncode:
                    missing(f"{name} can't be installed: {ran.stderr[-600:]}")
        done.touch()
        return python


def uv() -> list[str]:
    """The command that makes environments."""
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    if found := shutil.which("uv"):
        return [found]
    return missing("uv is needed to install with")
