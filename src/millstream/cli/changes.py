"""Schema changes, and packages that wait for them, in lines: the same in every command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.cli.terminal import print_listing
from millstream.common.text import quantity

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.model import Decision
    from millstream.runs.pending_packages import PendingPackage


def change_line(change: Mapping[str, Any], stream: str | None = None) -> str:
    """A change in columns: id or time, severity, what became of it, and what it is."""
    from millstream.schema_changes import decided_by

    action = "accepted" if decided_by(change["reason"]) == "people" else change["action"]
    told = describe(change, stream) if stream else f"{change['table']}: {change['message']}"
    return f"{change['id']}  {change['severity']:<8}  {action:<10}  {told}"


def decision_fields(decision: Decision) -> dict[str, Any]:
    """What `--json` prints of a change, and what lines are made of."""
    from millstream.schema_changes.held_packages import to_dict

    return to_dict(decision)


def decision_lines(name: str, made: Sequence[Decision]) -> list[str]:
    """What the policy says of a stream's changes, a line each."""
    if not made:
        return [f"{name}: no changes"]
    return [
        f"{name}: {quantity(len(made), 'change')}",
        *(f"  {change_line(decision_fields(decision))}" for decision in made),
    ]


def describe(change: Mapping[str, Any], stream: str) -> str:
    """A change behind its stream and table, neither named twice."""
    table, message = change["table"], change["message"]
    names_itself = change["kind"] == "table_added" or table == stream
    return f"{stream}: {message}" if names_itself else f"{stream}: {table}: {message}"


def print_packages(
    packages: Sequence[PendingPackage],
    lines: Callable[[PendingPackage], Sequence[str]],
    *,
    as_json: bool,
    if_empty: str,
) -> None:
    """Packages as a listing, each in the lines that a command prints of it."""
    print_listing(
        [package.to_dict() for package in packages],
        (line for package in packages for line in lines(package)),
        as_json=as_json,
        if_empty=if_empty,
    )


def held_packages(
    config: PipelineConfig, streams: Sequence[str]
) -> dict[str, list[PendingPackage]]:
    """The packages of each stream that wait for someone to accept changes."""
    from millstream.runs import pending_decisions

    found = {
        stream: [
            each for each in pending_decisions.list_pending(config, stream) if each.status == "held"
        ]
        for stream in streams
    }
    return {stream: packages for stream, packages in found.items() if packages}


def package_lines(package: PendingPackage) -> list[str]:
    """A package: its id, when it was read, its status, stream and rows; then why it waits."""
    rows = f"  {package.row_count:,} row{'' if package.row_count == 1 else 's'}"
    return [
        f"{package.id}  {package.extracted_at:%Y-%m-%d %H:%M}  {package.status:<11}  "
        f"{package_name(package)}{rows if package.rows else ''}",
        f"    {package.reason.splitlines()[0]}",
    ]


def held_lines(package: PendingPackage) -> list[str]:
    """A held package with its changes, and what to type."""
    from millstream.schema_changes.messages import accept_command, reject_command

    return [
        *package_lines(package),
        *(f"    {change_line(change)}" for change in package.changes),
        f"    accept: {accept_command(package.stream)}",
        f"    refuse: {reject_command(package.stream)}",
    ]


def dropped_lines(package: PendingPackage) -> list[str]:
    """That a package was dropped, and what follows."""
    return [f"dropped {package.id} of {package_name(package)}; {package.after_drop}"]


def package_name(package: PendingPackage) -> str:
    """The stream, and the partition if there is one."""
    return package.stream + (f" [{package.partition}]" if package.partition else "")
