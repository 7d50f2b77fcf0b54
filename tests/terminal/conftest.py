from __future__ import annotations

from collections.abc import Iterator

import pytest

from millstream.demo.generated import generate
from millstream.demo.github_server import GitHubServer
from services.installed import Installed, install


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    """GitHub's API with one repository of 150 issues."""
    with GitHubServer({"octo/hello": generate("octo/hello")}) as server:
        yield server
