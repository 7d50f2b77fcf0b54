"""The table of all commands. A new one is a module with a `COMMAND`, and a line here."""

from __future__ import annotations

from millstream.cli import (
    adopt,
    audit,
    dbt,
    demo,
    discover,
    doctor,
    html_report,
    init,
    mcp,
    pending,
    preview,
    quarantine,
    run,
    schema,
)
from millstream.cli.command import Command

ROOT = Command(
    name="millstream",
    summary="Messy nested data into clean, linked warehouse tables, as Dagster assets.",
    examples=("millstream init github_issues duckdb", "millstream run github_issues"),
    commands=(
        init.COMMAND,
        adopt.COMMAND,
        discover.COMMAND,
        preview.COMMAND,
        run.COMMAND,
        schema.COMMAND,
        quarantine.COMMAND,
        pending.COMMAND,
        audit.COMMAND,
        html_report.COMMAND,
        dbt.COMMAND,
        mcp.COMMAND,
        doctor.COMMAND,
        demo.COMMAND,
    ),
)
