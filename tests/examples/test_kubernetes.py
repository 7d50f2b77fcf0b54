"""`examples/kubernetes`: the values agree with the chart and with what `millstream init` writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml

from millstream.scaffold.project import Project, write_project

EXAMPLE = Path(__file__).parents[2] / "examples" / "kubernetes"
# what the chart's values.schema.json has for a deployment
KNOWN = {
    "name", "image", "dagsterApiGrpcArgs", "codeServerArgs", "includeConfigInLaunchedRuns", "port",
    "env", "envConfigMaps", "envSecrets", "annotations", "nodeSelector", "affinity", "tolerations",
    "podSecurityContext", "securityContext", "resources", "livenessProbe", "readinessProbe",
    "startupProbe", "labels", "volumeMounts", "volumes", "schedulerName", "initContainers",
    "sidecarContainers",
}  # fmt: skip


@pytest.fixture
def deployment() -> dict[str, Any]:
    values = yaml.safe_load((EXAMPLE / "values.yaml").read_text())
    assert values.keys() == {"dagster-user-deployments", "runLauncher"}
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    (found,) = values["dagster-user-deployments"]["deployments"]
    return dict(found)


def test_the_chart_knows_every_key(deployment: dict[str, Any]) -> None:
    assert set(deployment) <= KNOWN
    assert {"name", "image", "port"} <= set(deployment)
    assert deployment["image"].keys() == {"repository", "tag", "pullPolicy"}


@pytest.fixture
def project(deployment: dict[str, Any], tmp_path: Path) -> Project:
    return write_project("github_issues", "postgres", tmp_path / deployment["name"])


def test_the_image_has_what_the_chart_starts(deployment: dict[str, Any], project: Project) -> None:
    flag, module = deployment["dagsterApiGrpcArgs"]
    assert flag == "-m"
    file = project.folder / "src" / Path(*module.split(".")).with_suffix(".py")
    assert file.is_file()
    # it is found from the package, which must not be copied away from it
    assert "load_from_defs_folder" in file.read_text()
    assert " -e . ${PACKAGES}" in (project.folder / "Dockerfile").read_text()
    # the chart calls the code location as the deployment
    described = tomli.loads((project.folder / "pyproject.toml").read_text())
    assert described["tool"]["dg"]["project"]["code_location_name"] == deployment["name"]


def test_runs_keep_packages_on_the_volume(deployment: dict[str, Any], project: Project) -> None:
    dockerfile = (project.folder / "Dockerfile").read_text()
    (home,) = re.findall(r"^ENV MILLSTREAM_HOME=(\S+)$", dockerfile, re.MULTILINE)
    (mount,) = deployment["volumeMounts"]
    (volume,) = deployment["volumes"]
    assert mount == {"name": volume["name"], "mountPath": home}
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
