"""What people decide of packages that earlier runs left: accept, reject, list and drop.

`pending_packages` reads one working folder; this asks for all those of a stream.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from millstream import destinations, schema_changes
from millstream.common.metadata_tables import own_pipeline
from millstream.config import PipelineConfig, TargetConfig
from millstream.runs import load_packages, pending_packages, workdir
from millstream.runs.context import RunContext, plain_name
from millstream.runs.recorder import RunRecorder
from millstream.runs.recovery import take_out
from millstream.runs.turn import Turn


def accept(
    config: TargetConfig,
    stream: str,
    *,
    changes: Collection[str] = (),
    credentials: str | None = None,
) -> tuple[Mapping[str, Any], ...]:
    """Accept what held runs of a stream wait for on this machine; the next run loads it.

    Args:
        changes: the ids of those to accept, as the held run's error has them; all where left out.
        credentials: for the destination, where the run had any.

    Returns:
        The changes, each as the history has it, with its `id`; none where nothing waits.

    Raises:
        ConfigError: the accepted schema can't be read or written; nothing was accepted then.
    """
    accepted_store = destinations.accepted_store(config, credentials)
    return tuple(
        change
        for found in _waiting(config, stream, credentials)
        for change in schema_changes.held_packages.accept(found, accepted_store, changes)
    )


def waiting(
    config: TargetConfig, stream: str, credentials: str | None = None
) -> list[schema_changes.held_packages.Held]:
    """The packages of a stream that the policy holds on this machine, oldest first.

    Raises:
        ConfigError, DestinationAuthError: nothing says which destination they are for.
    """
    return list(_waiting(config, stream, credentials))


def open_changes(config: TargetConfig, stream: str) -> list[dict[str, Any]]:
    """The changes that `accept` would accept of held packages, each once."""
    found: dict[str, dict[str, Any]] = {}
    for held in _waiting(config, stream, None):
        done = schema_changes.held_packages.approved(held.folder)
        for change in held.acceptable:
            if change["id"] not in done:
                found.setdefault(change["id"], dict(change))
    return [*found.values()]


def list_pending(
    config: TargetConfig, stream: str, credentials: str | None = None, *, fully: bool = False
) -> list[pending_packages.PendingPackage]:
    """The packages of a stream that earlier runs left on this machine, oldest first.

    Args:
        fully: read each file for damage; else compare sizes.

    Raises:
        ConfigError, DestinationAuthError: nothing says which destination they are for.
    """
    return [
        package
        for left, part in _left(config, stream, credentials)
        for package in pending_packages.read(
            left.path, stream, part, fully=fully, maps=RunContext(config, stream).maps
        )
    ]


def forgotten_streams(config: TargetConfig, streams: Collection[str]) -> list[str]:
    """What has packages on this machine and is none of these streams: the names of its folders.

    Raises:
        ConfigError, DestinationAuthError: nothing says which destination they are for.
    """
    known = {RunContext(config, stream).key for stream in streams}
    names = [name for name in workdir.streams(config.name) if name not in known]
    place = destinations.address(config) if names else ""
    return [
        name
        for name in names
        if any(
            load_packages.pending(left.path)
            for key in _keys(config, name)
            for left in workdir.abandoned(config.name, key, place)
        )
    ]


def drop_pending(
    config: TargetConfig,
    stream: str,
    *,
    ids: Collection[str] = (),
    credentials: str | None = None,
) -> tuple[pending_packages.PendingPackage, ...]:
    """Drop packages of a stream that earlier runs left on this machine; no cursor moves.

    The next run reads their rows again. What an interrupted load has appended of a package is taken
    out of the destination.

    Args:
        ids: the load ids of those to drop; all where left out.

    Returns:
        Those that were dropped; none where none waits.

    Raises:
        MillstreamError: rows of an interrupted load can't be taken out; the package is kept.
    """
    dropped: list[pending_packages.PendingPackage] = []
    if not list_pending(config, stream, credentials):
        return ()
    context = RunContext(config, stream, credentials)
    with Turn(context), own_pipeline():
        for left, part in _left(config, stream, credentials):
            found = pending_packages.read(left.path, stream, part, fully=False)
            if not found or (ids and not any(package.id in ids for package in found)):
                continue
            if part is None:  # a partition replaces its rows, whatever is there of them
                take_out(context, RunRecorder(context), left.path)
            left.drop()
            dropped += found
    return tuple(dropped)


def reject(
    config: TargetConfig, stream: str, *, credentials: str | None = None
) -> tuple[pending_packages.PendingPackage, ...]:
    """Refuse the changes that held runs of a stream wait for: their packages are dropped.

    No cursor moves: the next run reads the rows again, and is held again if the source still has
    the changes. What else is pending stays.

    Returns:
        The packages that were dropped; none where none is held.
    """
    held = [
        package.id
        for package in list_pending(config, stream, credentials)
        if package.status == "held"
    ]
    if not held:
        return ()
    return drop_pending(config, stream, ids=held, credentials=credentials)


def _waiting(
    config: TargetConfig, stream: str, credentials: str | None
) -> Iterator[schema_changes.held_packages.Held]:
    maps = RunContext(config, stream).maps
    for left, _ in _left(config, stream, credentials):
        if schema_changes.held_packages.is_mapped(left.path, maps):
            continue  # the next run reads its rows again
        try:
            held = schema_changes.held_packages.read(left.path)
        except ValueError:  # damaged: the next run decides anew what it holds
            continue
        if held is not None:
            yield held


def _left(
    config: TargetConfig, stream: str, credentials: str | None
) -> Iterator[tuple[workdir.WorkDir, str | None]]:
    """The working folders that runs left, with the partition of each; locked while looked at.

    Of a partition that is no longer configured the name of its folders is all that is known.
    """
    key = RunContext(config, stream).key
    keys = _keys(config, key)
    if not keys:
        return
    place = destinations.address(config, credentials)
    partitions = config.partitions if isinstance(config, PipelineConfig) else None
    parts = {plain_name(part): part for part in (partitions.keys() if partitions else ())}
    for name in keys:
        folder = name.removeprefix(key).removeprefix("@")
        part = parts.get(folder, folder) or None
        for each in workdir.abandoned(config.name, name, place):
            yield each, part


def _keys(config: TargetConfig, key: str) -> list[str]:
    """The folders of a stream's runs, and of those of its partitions, that have any."""
    names = (key, *workdir.parts(config.name, key))
    return [name for name in names if workdir.has_runs(config.name, name)]
