"""The GitHub source: its streams, their dlt resources, and what `millstream doctor` checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from millstream.config import GitHubConfig, credential
from millstream.errors import ConfigError, SourceError, SourceNotFoundError
from millstream.model import PARTITION_COLUMN, Check, Partition, Stream
from millstream.sources import findings
from millstream.sources.github import time_windows
from millstream.sources.github.errors import TOKEN_NAMES, BlockedError, SwitchedOffError
from millstream.sources.github.streams import STREAMS, Row
from millstream.sources.http.clock import Clock, SystemClock

if TYPE_CHECKING:
    from dlt.sources import DltResource

    from millstream.sources.github.client import Client
    from millstream.sources.github.pagination import Pager


class GitHubSource:
    """GitHub's REST API as a source; connects when a resource is iterated or checked, not before.

    A repository that is named and can't be read fails the run before any row is extracted: half of
    the data because of a typo would look like all of it. Of an organisation's repositories, which
    nobody typed, one that is blocked, was just deleted or lacks what the stream reads is skipped,
    and the run's report says so.

    Args:
        clock: time and waits; tests bring their own.
    """

    def __init__(self, config: GitHubConfig, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()

    def streams(self) -> Sequence[Stream]:
        """The configured streams."""
        return [
            Stream(name, STREAMS[name].primary_key, STREAMS[name].description)
            for name in self._config.streams
        ]

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltResource:
        """The dlt resource of one stream: what changed, everything, or one window of time.

        Raises:
            ConfigError: the configuration has no such stream, or no window can be read of it.
        """
        if stream not in self._config.streams:
            raise ConfigError(
                f"the source has no stream {stream!r}",
                hint=f"`streams` has {', '.join(self._config.streams)}",
            )
        import dlt

        spec = STREAMS[stream]
        if partition is not None:
            time_windows.check(stream, spec, partition)

        def rows() -> Iterator[list[Row]]:
            state = dlt.current.resource_state()
            if partition is not None:
                for page in self._read(stream, {}, partition):
                    yield [{**row, PARTITION_COLUMN: partition.key} for row in page]
            elif full_refresh:
                state.clear()
                yield from _once(self._read(stream, state), spec.primary_key)
            else:
                yield from self._read(stream, state)

        # a row that changes during a run may be read twice: the later version is the one to keep
        columns: dict[str, Any] = {"repository_id": {"data_type": "bigint"}}
        if spec.time == "updated_at":
            columns["updated_at"] = {"dedup_sort": "desc"}
        resource: DltResource = dlt.resource(
            rows,
            name=str(stream),
            primary_key=spec.primary_key,
            write_disposition="replace" if full_refresh else "merge",
            columns=columns,
        )()
        return resource

    def check(self) -> Sequence[Check]:
        """One line for the API and the token, and one for each repository or organisation."""
        from millstream.sources.github.repositories import Directory

        try:
            with self._connect(attempts=2) as (client, pager):
                checks = [Check("github", True, _allowance(client, self._config.base_url))]
                for repository in _unique(self._config.repositories):
                    name = f"repository {repository}"
                    checks.append(_check(name, partial(_visibility, client, repository)))
                if found := self._config.organization:
                    name = f"organisation {found}"
                    organization = Directory(client, pager, {}, self._host).listed
                    checks.append(
                        _check(name, lambda: f"{len(organization(str(found)))} repositories")
                    )
                return checks
        except SourceError as error:
            return [Check("github", False, error.message, error.hint)]

    def _read(
        self,
        stream: str,
        state: MutableMapping[str, Any],
        partition: Partition | None = None,
    ) -> Iterator[list[Row]]:
        from millstream.sources.github.incremental import Reading
        from millstream.sources.github.repositories import Directory
        from millstream.sources.github.state import RepositoryState

        with self._connect() as (client, pager):
            directory = Directory(client, pager, state, self._host)
            repositories = directory.find(
                _unique(self._config.repositories), self._config.organization
            )
            reading = Reading(client, pager, self._config, stream, STREAMS[stream])
            for repository in repositories:
                progress = RepositoryState(
                    state, repository, self._config.since, self._config.lag_seconds
                )
                try:
                    if partition is not None:
                        yield from time_windows.read(reading, progress, partition)
                    else:
                        yield from reading.read(progress)
                except SourceNotFoundError as error:
                    if repository.named:
                        raise
                    findings.skip(repository.name, _reason(error), error.message)

    @property
    def _host(self) -> str:
        return urlsplit(self._config.base_url).netloc.lower()

    @contextmanager
    def _connect(self, attempts: int | None = None) -> Iterator[tuple[Client, Pager]]:
        from millstream.sources.github.client import Client
        from millstream.sources.github.pagination import Pager
        from millstream.sources.http.exchange import ATTEMPTS

        client = Client(
            self._config.base_url,
            credential(*TOKEN_NAMES),
            clock=self._clock,
            cancelled=threading.Event(),
            connections=self._config.parallel,
            attempts=attempts or ATTEMPTS,
        )
        pager = Pager(client, self._config.parallel)
        try:
            yield client, pager
        finally:
            client.close()
            pager.close()


def _unique(names: Sequence[str]) -> list[str]:
    """The names in their order, once each; GitHub does not tell upper from lower case."""
    return list({name.lower(): name for name in reversed(names)}.values())[::-1]


def _once(pages: Iterator[list[Row]], primary_key: Sequence[str]) -> Iterator[list[Row]]:
    """Each row once, since replacing a table, unlike merging, would keep both of two equal rows.

    The first version stays; if there was a later one, the next run's cursor lies before it.
    """
    seen: set[tuple[Any, ...]] = set()
    for page in pages:
        fresh = []
        for row in page:
            identity = tuple(row[name] for name in primary_key)
            if identity not in seen or None in identity:
                seen.add(identity)
                fresh.append(row)
        if fresh:
            yield fresh


def _reason(error: SourceNotFoundError) -> str:
    if isinstance(error, BlockedError):
        return "blocked"
    return "switched off" if isinstance(error, SwitchedOffError) else "not found"


def _check(name: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(name, True, ask())
    except SourceError as error:
        return Check(name, False, error.message, error.hint)


def _visibility(client: Client, repository: str) -> str:
    found = client.get(f"/repos/{repository}", about=f"repository {repository}").document
    return "private" if found.get("private") else "public"


def _allowance(client: Client, base_url: str) -> str:
    answer = client.get("/rate_limit", about="the rate limit", allowed=(404,))
    if answer.status == 404:  # GitHub Enterprise with rate limits switched off
        return f"{base_url}: reachable, without a rate limit"
    core = answer.document["resources"]["core"]
    reset = datetime.fromtimestamp(core["reset"], tz=timezone.utc).strftime("%H:%M")
    who = "token accepted" if credential(*TOKEN_NAMES) else "no token"
    return (
        f"{base_url}: reachable, {who}, {core['remaining']:,} of {core['limit']:,} requests left "
        f"until {reset} UTC"
    )
