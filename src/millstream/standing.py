"""How a stream stands, without loading it: for checks that are run by themselves."""

from __future__ import annotations

from millstream import destinations, ledger, runner
from millstream.config import PipelineConfig
from millstream.model import Decision, Jump, SchemaVersion
from millstream.preview import preview


def schema(config: PipelineConfig, stream: str) -> tuple[tuple[Decision, ...], dict[str, int]]:
    """What the policy says of what waits, with its rows; else of the source's first pages.

    Raises:
        SourceError: nothing waits on this machine, and the source can't be read.
    """
    keeper = destinations.keeper(config)
    accepted = keeper.load().get(stream) if keeper else None
    for waiting in runner.waiting(config, stream):
        decisions = ledger.held.standing(waiting, accepted, config.schema_policy)
        return decisions, dict(waiting.rows)
    new = preview(config, stream, accepted)
    decisions = ledger.govern(SchemaVersion(), accepted, new, config.schema_policy, stream=stream)
    return decisions, {}


def profile(config: PipelineConfig, stream: str) -> tuple[tuple[Jump, ...], int]:
    """The newest load that was counted against those before it, and how many these are.

    Raises:
        DestinationError: the history can't be asked.
    """
    with destinations.reader(config) as destination:
        place = ledger.store.Place(destination, config.dataset)
        loads = [seen for _, seen in ledger.store.profiles(place, config.name, stream, loads=11)]
        versions = ledger.store.versions(place, config.name, stream)
    if not loads or not versions:
        return (), 0
    new = ledger.attach(ledger.store.version_from(versions[-1]), loads[-1])
    check = config.profile_check
    found = ledger.jumps(new, loads[:-1], threshold=check.threshold, min_rows=check.min_rows)
    return found, len(loads) - 1
