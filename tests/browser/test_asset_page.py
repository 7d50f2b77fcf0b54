"""What people see of a load in Dagster's UI, seen through a browser.

With SCREENSHOTS set to a folder, the page is kept there as a picture, for the docs.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from .conftest import PATIENCE

pytestmark = pytest.mark.xdist_group("browser")


def test_a_materialized_asset_shows_rows_and_changes(demo, page):
    from playwright.sync_api import expect

    def value(key):
        return page.locator("tr").filter(has=page.get_by_text(key, exact=True)).last

    page.goto(f"{demo.url}/assets/github/issues")
    expect(value("rows_loaded")).to_contain_text(str(demo.rows))
    page.get_by_role("button", name="Materialize").first.click()

    # rows: what changed was loaded, and merged
    expect(value("rows_loaded")).to_have_text(re.compile(rf"M\s*{demo.to_load}\s*$"))
    expect(page.get_by_text(f"{demo.rows_after}", exact=True).first).to_be_visible()

    # schema: the new field comes first among the columns, above those that were there
    expect(page.locator("tr").filter(has_text="This load:").first).to_contain_text("new column")
    expect(page.locator("tr").filter(has_text="reactions__heart").first).to_contain_text("bigint")

    # schema changes: as a table, and in words
    table = value("schema_changes")
    expect(table).to_contain_text("column added")
    expect(table).to_contain_text("reactions__total_count")
    expect(value("schema_changes_explained")).to_contain_text("new column reactions__total_count")
    expect(page.get_by_text("warehouse.github.issues").first).to_be_visible()

    if folder := os.environ.get("SCREENSHOTS"):
        picture(page, Path(folder) / "asset-page.png")

    page.goto(f"{demo.url}/assets/github/issues__labels")
    expect(value("schema_changes_count")).to_have_text(re.compile(r"M\s*0\s*$"))
    expect(page.get_by_text("schema_changes_explained", exact=True)).to_have_count(0)
    expect(page.locator("tr").filter(has_text="_dlt_parent_id").first).to_contain_text(
        "issues that this one belongs to"
    )
    expect(page.get_by_text("warehouse.github.issues__labels").first).to_be_visible()


def picture(page, path):
    """The page with its list of columns folded, so that rows and changes fit on it."""
    columns = page.get_by_text("Columns", exact=True).first
    columns.click()
    page.wait_for_timeout(500)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    columns.click()  # Dagster remembers what is folded


LAUNCH = """
mutation($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
REEXECUTE = """
mutation($parent: String!, $strategy: ReexecutionStrategy!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $parent, strategy: $strategy}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
RUN = """
query($run: ID!) {
  runOrError(runId: $run) {
    ... on Run { status assetMaterializations { assetKey { path } } }
  }
}"""
WHERE = (
    "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
)


@pytest.fixture(scope="module")
def failed(demo):
    """The id of a run of the job in which the comments could not be read."""
    from services.github import Fault

    demo.github.faults.add(Fault(match="issues/comments", times=None, status=401, body="{}"))
    (repository,) = demo.ask(WHERE)["repositoriesOrError"]["nodes"]
    run = launched(
        demo.ask(
            LAUNCH,
            selector={
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
                "jobName": "github",
            },
        )["launchRun"]
    )
    status, assets = ended(demo, run)
    demo.github.faults.clear()
    assert status == "FAILURE"
    assert "issues" in assets
    assert "issue_comments" not in assets
    return run


@pytest.mark.nightly
@pytest.mark.parametrize(
    "strategy",
    ["FROM_FAILURE", pytest.param("FROM_ASSET_FAILURE", marks=pytest.mark.nightly)],
)
def test_a_reexecution_loads_only_what_failed(demo, failed, strategy):
    demo.github.forget()

    run = launched(demo.ask(REEXECUTE, parent=failed, strategy=strategy)["launchRunReexecution"])

    assert ended(demo, run) == ("SUCCESS", {"issue_comments"})
    assert demo.github.requests(r"/issues/comments$")
    assert not demo.github.requests(r"/issues$")


def launched(answer):
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def ended(demo, run):
    """A run's status once it has one, and the assets that it materialized."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        found = demo.ask(RUN, run=run)["runOrError"]
        if found["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
            return found["status"], {
                event["assetKey"]["path"][-1] for event in found["assetMaterializations"]
            }
        time.sleep(0.5)
    raise AssertionError(f"run {run} did not end")
