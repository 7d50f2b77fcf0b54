"""A folder's name -> the names of the project and of its Python package."""

from __future__ import annotations

import keyword
import re
import sys
from functools import cache

from millstream.errors import ConfigError

# names that work as packages but confuse Python's, pytest's or this project's own layout
_TAKEN = {"src", "test", "tests", "defs", "definitions", "conftest", "millstream"}


def project_name(folder: str) -> str:
    """
    >>> project_name("My Issues_2")
    'my-issues-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")


def package_name(folder: str) -> str:
    """The package's name, for a folder's.

    Raises:
        ConfigError: no valid name can be made of it, or it would hide a package that is installed.

    >>> package_name("My Issues-2")
    'my_issues_2'
    """
    name = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    if not name or not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(
            f"{folder!r} can't be made into the name of a Python package",
            hint="begin the folder's name with a letter, such as github_issues",
        )
    if name in _TAKEN or name in sys.stdlib_module_names or name in _installed():
        raise ConfigError(
            f"a Python package called {name!r} would hide one that exists",
            hint=f"choose another folder, such as my_{name}",
        )
    return name


@cache
def _installed() -> set[str]:
    from importlib.metadata import packages_distributions

    return set(packages_distributions())
