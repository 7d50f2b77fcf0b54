"""`millstream schema accept`, `pending` and `reject`: what people decide of changes."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from millstream.cli.changes import (
    decision_fields,
    describe,
    dropped_lines,
    held_lines,
    held_packages,
    print_packages,
)
from millstream.cli.command import Command
from millstream.cli.pipeline import (
    complain_of_each,
    of_each_stream,
    open_pipeline,
    pipeline_arguments,
    repeatable,
)
from millstream.cli.terminal import print_json, print_listing
from millstream.common.text import quantity

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.runs.status import Standing

_NONE_PENDING = "no changes are pending"


def pages_option(parser: ArgumentParser) -> None:
    from millstream.cli.parser import whole_number

    parser.add_argument(
        "--pages",
        metavar="N",
        type=whole_number(0),
        default=10,
        help="pages to read; 0 reads all (default: 10)",
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="compare with the accepted schema alone, from the source's beginning; finds no "
        "renames, and no fields that stopped arriving",
    )


def standing_of(
    config: PipelineConfig, stream: str, options: Namespace, *, keeps_out: bool = True
) -> Standing:
    """What the next run of a stream would find changed.

    Args:
        keeps_out: else with what a rule quarantines, as a change to accept.
    """
    from millstream.errors import DestinationError
    from millstream.runs import status

    try:
        return status.schema(
            config,
            stream,
            pages=options.pages or None,
            offline=options.offline,
            keeps_out=keeps_out,
        )
    except DestinationError as error:
        error.hint = "; ".join(
            filter(None, [error.hint, "--offline compares with the accepted schema alone"])
        )
        raise


def _accept_arguments(parser: ArgumentParser) -> None:
    pipeline_arguments(parser)
    repeatable(parser, "--change", "ID", "changes", "only this change (default: all that wait)")
    parser.add_argument(
        "--from-source",
        action="store_true",
        help="read the source as `schema diff` does, and accept all that it shows",
    )
    pages_option(parser)


def _accept(options: Namespace) -> int:
    from millstream import destinations
    from millstream.cli.changes import held_packages, package_name
    from millstream.runs import pending_decisions
    from millstream.schema_changes import is_kept_out

    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr):
        held = {stream: pending_decisions.open_changes(config, stream) for stream in streams}
        accepted_store = destinations.accepted_store(config)
        known = accepted_store.load() if accepted_store else {}
    found, failed = of_each_stream(
        [stream for stream in streams if options.from_source and not held[stream]],
        lambda stream: standing_of(config, stream, options, keeps_out=False),
    )
    complain_of_each(failed, debug=options.debug)
    done = 1 if failed else 0
    only = options.changes or ()
    offered = {stream: [*held[stream], *_open_in(found.get(stream))] for stream in streams}
    _check_changes(only, {change["id"] for made in offered.values() for change in made})
    accepted: dict[str, list[dict[str, Any]]] = {}
    for stream, made in offered.items():
        chosen = [change for change in made if not only or change["id"] in only]
        if not chosen:
            continue
        with redirect_stdout(sys.stderr):
            if stream in found:
                _accept_ahead(config, stream, found[stream], chosen)
            else:
                pending_decisions.accept(config, stream, changes=only)
        accepted[stream] = chosen
    if options.json:
        print_json(accepted)
        return done
    for stream, made in accepted.items():
        for change in made:
            print(f"accepted  {change['id']}  {describe(change, stream)}")
    if not accepted:
        print("\n".join(_not_ahead_lines(found) or [_NONE_PENDING]))
        return done
    with redirect_stdout(sys.stderr):
        if accepted_store and accepted_store.load() != known:
            where = f"written to {accepted_store.where}"
        else:  # no schema shows it
            where = "noted beside what is held on this machine"
        still_held = held_packages(config, [*accepted])
    will_be_held = {
        stream: sum(
            each.action == "hold"
            and not is_kept_out(each, config.schema_policy)
            and all(decision_fields(each)["id"] != it["id"] for it in made)
            for each in found[stream].decisions
        )
        for stream, made in accepted.items()
        if stream in found
    }
    if not still_held and not any(will_be_held.values()):
        print(f"{where}; the next run goes on")
    else:
        print(where)
    for stream, number in will_be_held.items():
        if number:
            changes = quantity(number, "schema change")
            print(f"{stream}: the next run will be held: {changes} must be accepted")
    for packages in still_held.values():
        for package in packages:
            print(f"{package_name(package)} is still held: {package.reason}")
    return done


def _pending(options: Namespace) -> int:
    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr):
        found = held_packages(config, streams)
    print_listing(
        {name: [each.to_dict() for each in held] for name, held in found.items()},
        (line for held in found.values() for package in held for line in held_lines(package)),
        as_json=options.json,
        if_empty=_NONE_PENDING,
    )
    return 0


def _reject(options: Namespace) -> int:
    from millstream.cli.parser import UsageError
    from millstream.runs import pending_decisions

    if not options.streams:
        raise UsageError(
            "millstream schema reject: --stream is required",
            hint="`millstream schema pending` lists what is held",
        )
    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr):
        dropped = [each for stream in streams for each in pending_decisions.reject(config, stream)]
    print_packages(dropped, dropped_lines, as_json=options.json, if_empty=_NONE_PENDING)
    return 0


def _check_changes(wanted: Collection[str], offered: Collection[str]) -> None:
    """Refuse ids that nothing waits under, before anything is accepted."""
    if missing := {*wanted} - {*offered}:
        from millstream.errors import MillstreamError

        raise MillstreamError(
            f"no such change is pending: {', '.join(sorted(missing))}; nothing was accepted",
            hint="`millstream schema pending` lists what is held, and `millstream schema diff` "
            "what --from-source accepts",
        )


def _open_in(found: Standing | None) -> list[dict[str, Any]]:
    """The changes that a source shows, that an accepted schema can say, and nobody has accepted."""
    from millstream.schema_changes import is_in_schema

    return [
        decision_fields(each)
        for each in (found.decisions if found else ())
        if found and is_in_schema(each.change, found.before) and each.decided_by != "people"
    ]


def _not_ahead_lines(found: Mapping[str, Standing]) -> list[str]:
    """The changes that the next run is held for, and that can't be accepted before it is."""
    return [
        f"not accepted  {fields['id']}  {describe(fields, stream)}: no schema shows it; accept it "
        "once a run is held"
        for stream, standing in found.items()
        for fields in map(decision_fields, standing.decisions)
        if fields["action"] == "hold"
    ]


def _accept_ahead(
    config: PipelineConfig, stream: str, found: Standing, chosen: Sequence[Mapping[str, Any]]
) -> None:
    """Accept changes that a source shows, before a run reads them."""
    from millstream import destinations
    from millstream.errors import ConfigError
    from millstream.schema_changes import held_packages

    accepted_store = destinations.accepted_store(config)
    if accepted_store is None:
        raise ConfigError("this pipeline has no folder to keep an accepted schema in")
    agreed = {change["id"] for change in chosen}
    agreed.update(
        decision_fields(each)["id"] for each in found.decisions if each.decided_by == "people"
    )
    changes = _open_in(found)
    accepted_store.add(
        stream,
        held_packages.agreed_schema(
            stream, found.schema, changes, agreed, accepted_store, found.before
        ),
    )


COMMANDS = (
    Command(
        name="accept",
        summary="accept what a held run waits for",
        description="Writes schema.yaml, or a row in the destination; the next run loads what "
        "waits, then goes on.",
        examples=(
            "millstream schema accept --stream issues",
            "millstream schema accept --change 1f2e3d4c",
        ),
        arguments=_accept_arguments,
        run=_accept,
    ),
    Command(
        name="pending",
        summary="list the changes that held runs wait for",
        description="Those of all streams, unless --stream names some. `millstream pending "
        "list` lists every package that is not loaded, whatever the reason.",
        examples=("millstream schema pending", "millstream schema pending --json"),
        arguments=pipeline_arguments,
        run=_pending,
    ),
    Command(
        name="reject",
        summary="refuse what a held run waits for",
        description="Drops the held package. No cursor moves and no table changes: the next "
        "run reads the rows again, and is held again if the source still has the changes.",
        examples=("millstream schema reject --stream issues",),
        arguments=pipeline_arguments,
        run=_reject,
    ),
)
