"""What a run's working folder keeps for the ledger, so that a held or killed run can go on.

    before.yaml     the schema that the destination had when the run began
    held.json       the stream and the changes that wait for someone, for people and the CLI
    held.yaml       the schema that the package would load
    accepted.json   fingerprints of the changes that were accepted for this package
    replay          the package's rows are from quarantine

Nothing of it goes to the destination: a held run changes nothing there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from millstream.common import atomic_write
from millstream.common.text import quantity
from millstream.config import PolicyConfig
from millstream.errors import ConfigError, SchemaHeldError
from millstream.model import Decision, SchemaChange, SchemaVersion
from millstream.schema_changes import accepted_file
from millstream.schema_changes.accepted_store import AcceptedSchemaStore
from millstream.schema_changes.diff import DATA_ALONE, apply, diff
from millstream.schema_changes.evaluate import fingerprint, govern, judge
from millstream.schema_changes.map_detection import is_map_at
from millstream.schema_changes.messages import accept_command, reject_command
from millstream.schema_changes.policy import decided_by

_WRITTEN = tuple(f.name for f in fields(SchemaChange) if f.name != "after")
_SHAPES = frozenset(
    {"column_renamed", "became_object", "became_list", "became_scalar", "map_explosion"}
)
SHOWN = 5
"""Held changes that an error names; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Held:
    """A package that waits.

    Attributes:
        folder: the working folder of the run that was held.
        changes: as `SchemaChange`, without `after`, plus `id`, `action` and `reason`.
        schema: what the package would load.
        rows: rows that wait, by table.
    """

    folder: Path
    stream: str
    changes: tuple[Mapping[str, Any], ...]
    schema: SchemaVersion
    rows: Mapping[str, int]

    @property
    def row_count(self) -> int:
        """Rows of tables without a parent."""
        return count_roots(self.schema, self.rows)

    @property
    def acceptable(self) -> tuple[Mapping[str, Any], ...]:
        """The changes that the package would make: not those of rows that it has quarantined."""
        return tuple(each for each in self.changes if each["action"] != "quarantine")

    @property
    def is_accepted(self) -> bool:
        """Whether all that this package waited for was accepted: the next run loads it."""
        done = approved(self.folder)
        return all(each["id"] in done for each in self.changes if each["action"] == "hold")


def write_baseline(folder: Path, stream: str, before: SchemaVersion) -> None:
    """Keep the schema that the destination has, for whoever finishes this run."""
    atomic_write.write(folder / "before.yaml", accepted_file.render({stream: before}))


def read_baseline(folder: Path, stream: str) -> SchemaVersion:
    """The schema that the destination had; an empty one where the run never got that far."""
    return accepted_file.read(folder / "before.yaml").get(stream, SchemaVersion())


def note_replay(folder: Path) -> None:
    """Remember that the rows of a folder's package are still in quarantine."""
    (folder / "replay").touch()


def is_replay(folder: Path) -> bool:
    """Whether a folder's package has rows from quarantine in place of the source's."""
    return (folder / "replay").exists()


def after_drop(folder: Path) -> str:
    """What becomes of rows whose package is dropped."""
    if is_replay(folder):
        return "its rows go on waiting in quarantine"
    if (folder / "refresh.json").exists():  # see `load_packages.remember_refresh`
        return "only another full refresh reads all of its rows again"
    return "the next run reads its rows again"


def hold(
    folder: Path,
    pipeline: str,
    stream: str,
    decisions: Sequence[Decision],
    new: SchemaVersion,
    rows: Mapping[str, int],
) -> SchemaHeldError:
    """Keep what waits beside its package; the error to raise."""
    atomic_write.write(folder / "held.yaml", accepted_file.render({stream: new}))
    document = {"stream": stream, "rows": dict(rows), "changes": [*map(to_dict, decisions)]}
    atomic_write.write(folder / "held.json", json.dumps(document, indent=2))
    held = [decision.change for decision in decisions if decision.action == "hold"]
    lines = [f"  {fingerprint(change)}  {change.table}: {change.message}" for change in held]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"  and {len(lines) - SHOWN} more"]
    count = quantity(len(held), "schema change")
    return SchemaHeldError(
        f"{pipeline}.{stream}: held: {count} must be accepted first; nothing was loaded\n"
        + "\n".join(lines),
        stream=stream,
        decisions=decisions,
        rows=rows,
        row_count=count_roots(new, rows),
        hint=f"`{accept_command(stream)}` accepts (in Python `millstream.accept`), and the next "
        f"run loads it; `{reject_command(stream)}` drops the package, and {after_drop(folder)}; "
        "`schema_policy` decides what is held",
    )


def count_roots(schema: SchemaVersion, rows: Mapping[str, int]) -> int:
    """Rows of tables without a parent, of rows by table."""
    tables = schema.table
    return sum(
        count for name, count in rows.items() if name not in tables or tables[name].parent is None
    )


def read(folder: Path) -> Held | None:
    """What waits in a working folder; None where nothing does."""
    try:
        document = json.loads((folder / "held.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    stream = document["stream"]
    return Held(
        folder=folder,
        stream=stream,
        changes=tuple(document["changes"]),
        schema=accepted_file.read(folder / "held.yaml").get(stream, SchemaVersion()),
        rows=document["rows"],
    )


def is_mapped(folder: Path, maps: Collection[str]) -> bool:
    """Whether a package waits for a map to be accepted that the configuration names by now.

    Its rows are read again then, as rows of a child table.

    Args:
        maps: the paths of objects that the configuration makes tables of.
    """
    if not maps:
        return False
    try:
        held = read(folder)
    except ValueError:  # damaged: the run that goes on with it says so
        return False
    accepted = approved(folder)
    return held is not None and any(
        change["kind"] == "map_explosion"
        and change["id"] not in accepted
        and any(is_map_at(path, change["column"]) for path in maps)
        for change in held.changes
    )


def approved(folder: Path) -> frozenset[str]:
    """Fingerprints of the changes that were accepted for this folder's package."""
    try:
        return frozenset(json.loads((folder / "accepted.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):  # damaged: they are to be accepted again
        return frozenset()


def approve(folder: Path, accepted: Collection[str]) -> None:
    """Note changes that were accepted before, for a folder's package."""
    if accepted:
        atomic_write.write(folder / "accepted.json", json.dumps(sorted(accepted)))


def standing(
    held: Held,
    accepted: SchemaVersion | None,
    policy: PolicyConfig,
    maps: Collection[str] = (),
) -> tuple[Decision, ...]:
    """What the policy says by now of the changes that a package waits for."""
    known = govern(
        read_baseline(held.folder, held.stream),
        accepted,
        held.schema,
        policy,
        stream=held.stream,
        approved=approved(held.folder),
        maps=maps,
    )
    # what only the counts of the load told, and what rows that were quarantined would change, is in
    # no schema: it is as it was written down
    said = {fingerprint(decision.change) for decision in known}
    changes = [
        (each, SchemaChange(**{name: each[name] for name in _WRITTEN})) for each in held.changes
    ]
    refused = [
        Decision(change, "quarantine", each["reason"], decided_by(each["reason"]))
        for each, change in changes
        if each["action"] == "quarantine"
    ]
    told = [
        change
        for _, change in changes
        if change.kind in DATA_ALONE and fingerprint(change) not in said
    ]
    # shares that the message names were counted then
    messages = {each["id"]: each["message"] for each in held.changes}
    known = tuple(
        replace(each, change=replace(each.change, message=message))
        if (message := messages.get(fingerprint(each.change)))
        else each
        for each in known
    )
    return (
        *refused,
        *known,
        *judge(
            told,
            read_baseline(held.folder, held.stream),
            accepted,
            policy,
            stream=held.stream,
            approved=approved(held.folder),
        ),
    )


def accept(
    held: Held, accepted_store: AcceptedSchemaStore | None, only: Collection[str] = ()
) -> tuple[Mapping[str, Any], ...]:
    """Accept what waits, all of it or the changes with these ids; returns those accepted now.

    Tells the store, so that other machines know, and leaves a note beside the package, for
    changes that no schema shows.

    Raises:
        Exception: the store's, where it can't be read or written; nothing was accepted then.
    """
    done = approved(held.folder)
    chosen = [
        change
        for change in held.acceptable
        if change["id"] not in done and (not only or change["id"] in only)
    ]
    if not chosen:
        return ()
    agreed = {*done, *(change["id"] for change in chosen)}
    if accepted_store is not None:
        before = read_baseline(held.folder, held.stream)
        accepted_store.add(
            held.stream,
            agreed_schema(held.stream, held.schema, held.changes, agreed, accepted_store, before),
        )
    approve(held.folder, agreed)
    return tuple(chosen)


def agreed_schema(
    stream: str,
    schema: SchemaVersion,
    changes: Collection[Mapping[str, Any]],
    agreed: Collection[str],
    accepted_store: AcceptedSchemaStore,
    before: SchemaVersion,
) -> SchemaVersion:
    """What is accepted already, with the agreed changes made, and those that nobody need accept.

    Args:
        schema: what would be loaded; changes: all that it changes, as `to_dict` has them.
        agreed: the ids of those that people accept, now or before.
        before: what the destination has, for a stream of which nothing is accepted yet.
    """
    open_changes = [
        change for change in changes if change["action"] == "hold" and change["id"] not in agreed
    ]
    if not open_changes:
        return schema
    known = accepted_store.load().get(stream) or before
    waiting = {change["id"] for change in open_changes}
    # what these changes make stands for them in a schema: the new name of a rename (see
    # `govern.is_accepted_rename`), the fields of what became an object or a map
    unsettled = [
        (change["table"], change["new" if change["kind"] == "column_renamed" else "column"])
        for change in open_changes
        if change["kind"] in _SHAPES
    ]
    version = apply(
        known,
        [
            change
            for change in diff(known, schema)
            if fingerprint(change) not in waiting
            and not any(_is_of(change, table, name) for table, name in unsettled)
        ],
    )
    for table in version.tables:
        if table.parent is not None and table.parent not in version.table:
            raise ConfigError(
                f"table {table.name!r} can't be accepted without {table.parent!r}, its parent"
            )
    return version


def _is_of(change: SchemaChange, table: str, name: str) -> bool:
    """Whether a change is of a column, an object or a list of a table."""
    whole = f"{change.table}__{change.column}" if change.column else change.table
    return f"{whole}__".startswith(f"{table}__{name}__")


def to_dict(decision: Decision) -> dict[str, Any]:
    """A decision as JSON-ready values, with the id to accept it by."""
    change = asdict(decision.change)
    change.pop("after")
    return {
        "id": fingerprint(decision.change),
        **change,
        "action": decision.action,
        "reason": decision.reason,
    }
