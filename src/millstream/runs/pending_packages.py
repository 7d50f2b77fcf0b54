"""Packages that earlier runs left on this machine, and why each was not loaded.

The next run of a stream loads them first. A package is dropped by itself: nothing else is forgotten
and no cursor moves, so that the next run reads its rows again.

    RUN/failed.json    the step and the error that kept a package from being loaded
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from millstream.common import atomic_write
from millstream.errors import MillstreamError, RunError, SchemaHeldError
from millstream.runs import load_packages, manifests
from millstream.schema_changes import held_packages

Status = Literal["held", "accepted", "damaged", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class PendingPackage:
    """A package that waits.

    Attributes:
        id: the load id.
        status: `held` by the schema policy; `accepted` since; `damaged`; `failed` in an earlier
            run; or `interrupted` with its process.
        reason: why, in words.
        rows: by table; empty where it is not normalized yet.
        row_count: rows of tables without a parent.
        files: its files below `folder`, with their sizes.
        damage: what is wrong with which file.
        changes: what the policy, and people, say of each of a package that was held.
        step: of the last run, in which it failed; empty where it did not, or was refused.
        after_drop: what becomes of its rows where it is dropped, in words.
    """

    id: str
    stream: str
    partition: str | None
    status: Status
    reason: str
    extracted_at: datetime
    rows: Mapping[str, int]
    row_count: int
    files: Mapping[str, int]
    damage: tuple[str, ...]
    changes: tuple[Mapping[str, Any], ...]
    folder: Path
    step: str = ""
    after_drop: str = "the next run reads its rows again"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "id": self.id,
            "stream": self.stream,
            "partition": self.partition,
            "status": self.status,
            "reason": self.reason,
            "extracted_at": self.extracted_at.isoformat(),
            "rows": dict(self.rows),
            "row_count": self.row_count,
            "bytes": sum(self.files.values()),
            "files": dict(self.files),
            "damage": list(self.damage),
            "changes": [dict(change) for change in self.changes],
            "folder": str(self.folder),
        }


def drop_command(stream: str) -> str:
    """What people type to drop what waits of a stream."""
    return f"millstream pending drop --stream {stream}"


def drop_hint(stream: str) -> str:
    """The way out for a package that can't be loaded as it is."""
    return (
        f"`{drop_command(stream)}` drops the package; no cursor has moved, so the next run reads "
        "its rows again"
    )


def read(
    run: Path,
    stream: str,
    partition: str | None,
    *,
    fully: bool,
    maps: Collection[str] = (),
) -> list[PendingPackage]:
    """The packages that wait in one working folder.

    Args:
        fully: read each file for damage; else compare sizes.
        maps: the paths of objects that the configuration makes tables of.
    """
    found = []
    for load_id in load_packages.pending(run):
        damage = tuple(manifests.damages(run, load_id, fully=fully))
        waits = _held(run)
        failure = _failure(run)
        if damage:
            status: Status = "damaged"
            reason = damage[0] if len(damage) == 1 else f"{damage[0]}; and {len(damage) - 1} more"
        elif failure is not None:
            status, reason = "failed", failure
        elif waits is not None and held_packages.is_mapped(run, maps):
            status = "accepted"
            reason = "`maps` names the object that it waited for: the next run reads its rows again"
        elif waits is not None and waits.is_accepted:
            status, reason = "accepted", "the next run loads it"
        elif waits is not None:
            waiting = len(open_changes(waits))
            status = "held"
            reason = f"{waiting} schema change{'s' if waiting != 1 else ''} must be accepted"
        else:
            status, reason = "interrupted", "its run ended before it was known to be loaded"
        rows = waits.rows if waits else manifests.rows(run, load_id)
        found.append(
            PendingPackage(
                id=load_id,
                stream=stream,
                partition=partition,
                status=status,
                reason=reason,
                extracted_at=datetime.fromtimestamp(float(load_id), timezone.utc),
                rows=rows,
                row_count=waits.row_count if waits else _count_roots(run, load_id, rows),
                files={
                    str(path.relative_to(run)): path.stat().st_size
                    for path in sorted(run.rglob(f"{load_id}/**/*"))
                    if path.is_file()
                },
                damage=damage,
                changes=_told(waits) if waits else (),
                folder=run,
                step=_failed_step(run),
                after_drop=held_packages.after_drop(run),
            )
        )
    return found


def open_changes(waits: held_packages.Held) -> list[Mapping[str, Any]]:
    """The changes of a held package that nobody has accepted yet."""
    done = held_packages.approved(waits.folder)
    return [each for each in waits.changes if each["action"] == "hold" and each["id"] not in done]


def _told(waits: held_packages.Held) -> tuple[Mapping[str, Any], ...]:
    """The changes of a held package, those marked that were accepted since."""
    done = held_packages.approved(waits.folder)
    return tuple(
        {**each, "action": "allow", "reason": "accepted"} if each["id"] in done else each
        for each in waits.changes
    )


def _count_roots(run: Path, load_id: str, rows: Mapping[str, int]) -> int:
    """Rows of tables without a parent, by the schema that lies in the package."""
    for pattern in (f"*/load/normalized/{load_id}/schema.json", f"kept/{load_id}/schema.json"):
        for file in run.glob(pattern):
            with suppress(OSError, ValueError, LookupError, TypeError):
                tables = json.loads(file.read_bytes())["tables"]
                return sum(n for name, n in rows.items() if not tables[name].get("parent"))
    return sum(rows.values())


def check(run: Path, what: str, stream: str, *, fully: bool) -> None:
    """Refuse to load packages that are not as they were written.

    Raises:
        DamagedPackageError: names the file, and the way out.
    """
    from millstream.errors import DamagedPackageError

    for load_id in load_packages.pending(run):
        damage = manifests.damages(run, load_id, fully=fully)
        if damage:
            more = f"; and {len(damage) - 1} more" if len(damage) > 1 else ""
            raise DamagedPackageError(
                f"{what}: the package {load_id} is damaged and was not loaded: {damage[0]}{more} "
                f"({run})",
                stream=stream,
                damage=damage,
                hint=drop_hint(stream),
            )


def note_failure(run: Path, error: MillstreamError) -> None:
    """Keep the reason beside a package that could not be loaded."""
    file = run / "failed.json"
    if isinstance(error, SchemaHeldError) or not load_packages.pending(run):
        file.unlink(missing_ok=True)
        return
    step = error.step if isinstance(error, RunError) else ""
    atomic_write.write(file, json.dumps({"step": step, "error": error.message}))


def _failed_step(run: Path) -> str:
    try:
        return str(json.loads((run / "failed.json").read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _failure(run: Path) -> str | None:
    try:
        return str(json.loads((run / "failed.json").read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _held(run: Path) -> held_packages.Held | None:
    try:
        return held_packages.read(run)
    except Exception:  # damaged: what it held is decided anew by the next run
        return None
