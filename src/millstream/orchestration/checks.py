"""The checks of a stream's own asset: `schema`, is each change accepted; `profile`, is the data
as it was; `delivered`, did all that was read arrive. Made from the RunReport, or from what a run
that was held says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from millstream.common.text import quantity
from millstream.config import PipelineConfig
from millstream.errors import SchemaHeldError
from millstream.model import Decision, Drift, Receipt, RunReport
from millstream.orchestration.metadata import changes_table, explain
from millstream.schema_changes import comes_and_goes, fingerprint, most_rows, profile_of
from millstream.schema_changes.drift import MIN_LOADS
from millstream.schema_changes.messages import accept_command, reject_command

SCHEMA = "schema"
PROFILE = "profile"
DELIVERED = "delivered"

Result = dg.AssetCheckResult

_NAMED = 5
"""Columns that a check names; its metadata has all of them."""

_JUMPS = dg.TableSchema(
    columns=[
        dg.TableColumn("table"),
        dg.TableColumn("column"),
        dg.TableColumn("share", description="Presence in the JSON, or null in the column."),
        dg.TableColumn("now", "float", description="In this load, 0 to 1."),
        dg.TableColumn("lowest", "float", description="In the loads it is compared with."),
        dg.TableColumn("highest", "float"),
        dg.TableColumn("rows", "int", description="Rows of the table in this load."),
    ]
)


_RECEIPTS = dg.TableSchema(
    columns=[
        dg.TableColumn("table"),
        dg.TableColumn("read", "int", description="Of a child table: in the rows checked."),
        dg.TableColumn("delivered", "int"),
        dg.TableColumn("quarantined", "int"),
        dg.TableColumn("checked", "int", description="Source rows whose values were compared."),
        dg.TableColumn("problems"),
    ]
)


def check_specs(config: PipelineConfig, roots: Iterable[dg.AssetKey]) -> list[dg.AssetCheckSpec]:
    """The checks of each stream's own asset. Connects to nothing."""
    return [spec for root in roots for spec in _specs_of(config, root)]


def _specs_of(config: PipelineConfig, root: dg.AssetKey) -> Iterator[dg.AssetCheckSpec]:
    yield dg.AssetCheckSpec(
        SCHEMA,
        asset=root,
        blocking=config.schema_check.blocking,
        description="Fails while the policy holds a schema change that nobody has accepted; warns "
        "of what the policy warns of.",
    )
    if config.history:  # else there is nothing to compare with
        yield dg.AssetCheckSpec(
            PROFILE,
            asset=root,
            blocking=config.profile_check.blocking,
            description="Compares how often each field arrives, and how often each column is null, "
            "with each of the last ten loads.",
        )
    if config.receipts != "none":
        yield dg.AssetCheckSpec(
            DELIVERED,
            asset=root,
            description="Compares what the last load left in the tables with what the source gave: "
            "rows, values, and the parents of child rows.",
        )


def results(config: PipelineConfig, root: dg.AssetKey, report: RunReport) -> list[Result]:
    """What the checks say of a run that has loaded."""
    found = [schema_result(root, report.decisions)]
    if config.history:
        rows = most_rows(profile_of(report.schema))
        found.append(profile_result(config, root, report.jumps, report.compared_loads, rows))
    if config.receipts != "none":
        found.append(delivered_result(root, report.receipts))
    return found


def held_results(config: PipelineConfig, root: dg.AssetKey, error: SchemaHeldError) -> list[Result]:
    """What the checks say of a run that was held: others than `schema` have nothing to judge."""
    names = [PROFILE] * config.history + [DELIVERED] * (config.receipts != "none")
    if error.loaded is not None:  # of an earlier run
        judged = results(config, root, error.loaded)
        return [_held_result(root, error), *(each for each in judged if each.check_name in names)]
    return [
        _held_result(root, error),
        *(
            Result(
                asset_key=root,
                check_name=name,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description="not evaluated: the run was held, and nothing was loaded",
            )
            for name in names
        ),
    ]


def _held_result(root: dg.AssetKey, error: SchemaHeldError) -> Result:
    """What `schema` says of a run that was held."""
    has_loaded = error.loaded is not None
    return _held(root, error.stream, error.decisions, error.rows, error.row_count, has_loaded)


def _held(
    root: dg.AssetKey,
    stream: str,
    decisions: Sequence[Decision],
    rows: Mapping[str, int],
    waiting: int,
    has_loaded: bool = False,
) -> Result:
    held = [decision for decision in decisions if decision.action == "hold"]
    wait = f", {quantity(waiting, 'row')} wait{'s' if waiting == 1 else ''}" if waiting else ""
    loaded = "nothing more was loaded" if has_loaded else "nothing is loaded"
    return _red(
        root,
        f"{quantity(len(held), 'change')} must be accepted first; {loaded}{wait}: "
        f"{accept_command(stream)}",
        {
            "accept": dg.MetadataValue.md(accept_words(stream, held)),
            **_decided(decisions),
            "rows_waiting": dg.MetadataValue.json(dict(rows)),
        },
    )


def _red(root: dg.AssetKey, description: str, metadata: Mapping[str, Any]) -> Result:
    return Result(
        asset_key=root,
        check_name=SCHEMA,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata=metadata,
    )


def standing_result(config: PipelineConfig, stream: str, key: dg.AssetCheckKey) -> Result:
    """What a check says of a stream as it stands, without loading it.

    Raises:
        MillstreamError: neither the source nor the history could be asked.
    """
    from millstream.runs import status

    if key.name == PROFILE:
        jumps, loads, rows = status.profile(config, stream)
        return profile_result(config, key.asset_key, jumps, loads, rows)
    if key.name == DELIVERED:
        from millstream.runs.audit import audit_loads

        audited = audit_loads(config, [stream])
        return delivered_result(key.asset_key, [each for load in audited for each in load.receipts])
    found = status.schema(config, stream)
    held = [decision for decision in found.decisions if decision.action == "hold"]
    if held and found.rows:
        return _held(key.asset_key, stream, found.decisions, found.rows, found.row_count)
    if held:
        return _would_be_held(key.asset_key, stream, found.decisions, held)
    return schema_result(key.asset_key, (*found.decisions, *found.accepted), is_loaded=False)


def _would_be_held(
    root: dg.AssetKey, stream: str, decisions: Sequence[Decision], held: Sequence[Decision]
) -> Result:
    """What `schema` says of a stream whose source shows what the policy holds, before a run."""
    return _red(
        root,
        f"the next run will be held: {quantity(len(held), 'change')} must be accepted first: "
        f"{accept_command(stream)} --from-source",
        _decided(decisions),
    )


def accept_words(stream: str, held: Sequence[Decision]) -> str:
    """The commands that accept what is held, as Markdown."""
    lines = [
        f"`{accept_command(stream)}`, or `millstream.accept` where there is no defs.yaml, accepts "
        "all, and the next run loads it; "
        f"`{reject_command(stream)}` drops it, and the next run reads its rows again."
    ]
    if len(held) > 1:
        lines.append("One at a time:")
        lines += [
            f"- `millstream schema accept --change {fingerprint(decision.change)}`: "
            f"{decision.change.table}: {decision.change.message}"
            for decision in held
        ]
    return "\n\n".join(lines[:2]) + "".join(f"\n{line}" for line in lines[2:])


def schema_result(
    root: dg.AssetKey, decisions: Sequence[Decision], *, is_loaded: bool = True
) -> Result:
    """What `schema` says of decisions that hold nothing; `profile` says which shares moved.

    Args:
        is_loaded: else they are of what the next run would load.
    """
    decisions = [decision for decision in decisions if not comes_and_goes(decision)]
    warned = [decision for decision in decisions if decision.action == "warn"]
    kept_out = [decision for decision in decisions if decision.action == "quarantine"]
    let_in = quantity(len(decisions) - len(kept_out), "change")
    when = "loaded, with" if is_loaded else "not loaded yet; the next run makes"
    if warned:
        description = f"{when} {quantity(len(warned), 'change')} to look at"
    elif len(decisions) > len(kept_out):
        description = f"{let_in if is_loaded else f'{when} {let_in}'}, allowed or accepted"
    else:
        description = "as accepted"
    if kept_out:
        them = "it" if len(kept_out) == 1 else "them"
        description += f"; {quantity(len(kept_out), 'change')} kept out, with the rows that need "
        description += them
    return Result(
        asset_key=root,
        check_name=SCHEMA,
        passed=not warned,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=_decided(decisions),
    )


def profile_result(
    config: PipelineConfig,
    root: dg.AssetKey,
    jumps: Sequence[Drift],
    loads: int,
    rows: int,
) -> Result:
    """What `profile` says of a load, compared with so many earlier ones.

    Args:
        rows: of this load, in the table with most; 0 where none was counted.
    """
    blocking, min_rows = config.profile_check.blocking, config.profile_check.min_rows
    if jumps:
        names = [
            jump.column if jump.table == root.path[-1] else f"{jump.table}.{jump.column}"
            for jump in jumps
        ]
        named = ", ".join(names[:_NAMED])
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        description = f"{quantity(len(jumps), 'column')} unlike {_last(loads)}: {named}{more}"
    elif not rows:
        description = "nothing to compare: no rows came, or dlt, which counts none, normalized them"
    elif not loads:
        description = "the first load that was counted: nothing to compare it with yet"
    elif loads < MIN_LOADS:
        there_are = "there is" if loads == 1 else "there are"
        description = f"judged from {MIN_LOADS} earlier loads on; {there_are} {loads}"
    elif rows < min_rows:
        description = f"not judged: {quantity(rows, 'row')}, of at least {min_rows:,} (`min_rows`)"
    else:
        description = f"as in {_last(loads)}"
    return Result(
        asset_key=root,
        check_name=PROFILE,
        passed=not jumps,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=_jumped(jumps),
    )


def delivered_result(root: dg.AssetKey, receipts: Sequence[Receipt]) -> Result:
    """What `delivered` says of a load's receipts."""
    wrong = [f"{each.table}: {problem}" for each in receipts for problem in each.problems]
    reasons = dict.fromkeys(each.unchecked for each in receipts if each.unchecked)
    if wrong:
        description = "; ".join(wrong[:_NAMED])
        if len(wrong) > _NAMED:
            description += f"; and {len(wrong) - _NAMED:,} more"
    elif not receipts:
        description = "nothing was loaded, or nothing could be compared"
    elif reasons:
        description = f"all rows arrived; values were not compared: {', '.join(reasons)}"
    else:
        checked = max(each.checked for each in receipts)
        description = f"no difference in {quantity(checked, 'checked row')}"
    return Result(
        asset_key=root,
        check_name=DELIVERED,
        passed=not wrong,
        severity=dg.AssetCheckSeverity.ERROR,
        description=description,
        metadata={
            "receipts": _table(
                _RECEIPTS,
                (
                    {
                        "table": each.table,
                        "read": each.read,
                        "delivered": each.delivered,
                        "quarantined": each.quarantined,
                        "checked": each.checked,
                        "problems": "; ".join(each.problems),
                    }
                    for each in receipts
                ),
            )
        }
        if receipts
        else {},
    )


def _jumped(jumps: Sequence[Drift]) -> dict[str, Any]:
    if not jumps:
        return {}
    return {
        "explained": dg.MetadataValue.md(
            "\n".join(f"- **{jump.table}**: {jump.message}" for jump in jumps)
        ),
        "columns": _table(
            _JUMPS,
            (
                {
                    "table": jump.table,
                    "column": jump.column,
                    "share": jump.share,
                    "now": round(jump.now, 4),
                    "lowest": round(jump.lowest, 4),
                    "highest": round(jump.highest, 4),
                    "rows": jump.rows,
                }
                for jump in jumps
            ),
        ),
    }


def _table(
    schema: dg.TableSchema, rows: Iterable[dict[str, str | int | float | bool | None]]
) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(records=[dg.TableRecord(row) for row in rows], schema=schema)


def _decided(decisions: Sequence[Decision]) -> dict[str, Any]:
    if not decisions:
        return {}
    let_in = [d.change for d in decisions if d.action != "quarantine"]
    kept_out = [d.change for d in decisions if d.action == "quarantine"]
    words = [explain(let_in)] if let_in else []
    if kept_out:
        words += ["Kept out, with the rows that need it:", explain(kept_out)]
    return {
        "explained": dg.MetadataValue.md("\n\n".join(words)),
        "changes": changes_table(
            [decision.change for decision in decisions],
            [
                {"decision": d.action, "by": d.reason, "id": fingerprint(d.change)}
                for d in decisions
            ],
        ),
    }


def _last(loads: int) -> str:
    return "the last load" if loads == 1 else f"the last {quantity(loads, 'load')}"
