"""Which repositories a run reads, and which of them an earlier run has read under another name.

`find` asks GitHub once for each repository that is named, at no cost while it is unchanged, and
once for those of an organisation. One that was renamed or transferred keeps its number: its state
goes on, and the rows that are loaded get the new name. One that takes over an old name has a
number of its own, and is read from its beginning.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import Any

from millstream.errors import SourceDataError, SourceError, SourceNotFoundError
from millstream.model import RowUpdate
from millstream.sources import findings
from millstream.sources.github.client import Answer, Client
from millstream.sources.github.pagination import Listing, Pager
from millstream.sources.github.state import Repository, migrate
from millstream.sources.github.streams import Row

ID_COLUMN = "repository_id"
NAME_COLUMN = "repository"


class Directory:
    """Finds the repositories of one run, and keeps what the state says of their names."""

    def __init__(
        self, client: Client, pager: Pager, state: MutableMapping[str, Any], host: str
    ) -> None:
        self._client = client
        self._pager = pager
        self._state = state
        migrate(state)
        self._other_host = state.get("host", host) != host
        state["host"] = host
        if self._other_host:
            state["names"].clear()

    def find(self, names: Sequence[str], organization: str | None) -> list[Repository]:
        """The repositories that are named, then the organisation's others, each once.

        Raises:
            SourceError: one that is named can't be read, or the organisation can't.
        """
        named = self._named(names)
        listed = self.listed(organization) if organization else []
        found = {each.id: each for each in [*listed, *named]}
        order = dict.fromkeys([each.id for each in [*named, *listed]])
        repositories = [found[number] for number in order]
        if self._other_host:
            self._keep(repositories)
        self._fill()
        self._adopt({**dict(zip(names, named)), **{each.name: each for each in listed}})
        for repository in repositories:
            self._rename(repository.id, repository.name)
        self._release_names({each.id for each in repositories}, repositories)
        if organization:
            self._report_unlisted(organization, {each.id for each in listed}, named)
        return repositories

    def listed(self, organization: str) -> list[Repository]:
        """An organisation's repositories that the token may see."""
        listing = Listing(
            path=f"/orgs/{organization}/repos",
            params={"type": "all", "sort": "full_name", "per_page": 100},
            about=f"organisation {organization}",
            key=lambda row: row.get("id"),
            checked=True,
        )
        rows = [row for page in self._pager.read(listing) for row in page.rows]
        if not rows:
            findings.warn(f"organisation {organization} shows no repositories to this token")
        return list({each.id: each for each in map(_repository, rows)}.values())

    def _named(self, names: Sequence[str]) -> list[Repository]:
        """What the configured names stand for now.

        Raises:
            SourceError: for the first that can't be read, naming all that can't.
        """
        known: dict[str, Any] = self._state["names"]

        def ask(name: str) -> Repository | SourceError:
            before = known.get(name.lower()) or {}
            try:
                answer = self._ask(f"/repos/{name}", name, before.get("etag"))
                if answer.document is None:
                    return Repository(before["id"], before["name"], named=True)
                found = _repository(answer.document, name)
            except SourceError as error:
                return error
            known[name.lower()] = {"id": found.id, "name": found.name, "etag": answer.etag}
            return Repository(found.id, found.name, named=True)

        answers = list(self._pager.each([partial(ask, name) for name in names]))
        failed = {n: found for n, found in zip(names, answers) if isinstance(found, SourceError)}
        if failed:
            first = next(iter(failed.values()))
            if len(failed) > 1:
                first.message += f"\nalso unreadable: {', '.join(list(failed)[1:])}"
            raise first
        for name in known.keys() - {name.lower() for name in names}:
            del known[name]
        return answers

    def _ask(self, path: str, name: str, etag: str | None = None) -> Answer:
        return self._client.get(path, about=f"repository {name}", etag=etag)

    def _keep(self, repositories: Sequence[Repository]) -> None:
        """Keep the state of those that another address shows by the same number and name.

        An address may be another way to the same server, or a server with numbers of its own.
        """
        known = self._state["repositories"]
        same = {
            each.id: known[each.id]
            for each in repositories
            if each.id in known and known[each.id]["name"].lower() == each.name.lower()
        }
        known.clear()
        known.update(same)
        self._state["unlisted"].clear()
        self._state["unfilled"].clear()

    def _fill(self) -> None:
        """Give rows of version 1 their number. The run that took the state over made the column."""
        unfilled: dict[str, str] = self._state["unfilled"]
        for number, name in unfilled.items():
            _update(number, name, name)
        unfilled.clear()

    def _adopt(self, current: dict[str, Repository]) -> None:
        """Find whose state is what version 1 kept by name."""
        waiting: dict[str, Any] = self._state["by_name"]
        by_name = {
            name.lower(): each for known, each in current.items() for name in (known, each.name)
        }
        # a name that is in use now before one that only leads there
        for name in sorted(waiting, key=lambda name: name not in by_name):
            entry = waiting.pop(name)
            found = by_name.get(name) or self._follow(name)
            if found is None:  # deleted, or hidden; should it come back, it is read again
                continue
            label = str(entry.get("name") or name)
            if found.id in self._state["repositories"]:
                findings.warn(
                    f"{label} and {found.name} are one repository, which an earlier version read "
                    "under both names; `--full-refresh` loads each row once"
                )
                continue
            self._state["repositories"][found.id] = {**entry, "name": label}
            self._state["unfilled"][found.id] = label

    def _follow(self, name: str) -> Repository | None:
        """The repository that a name leads to; None where it leads to none."""
        try:
            return _repository(self._ask(f"/repos/{name}", name).document, name)
        except SourceNotFoundError:
            return None

    def _rename(self, number: str, name: str) -> None:
        entry = self._state["repositories"].get(number)
        if entry is None or entry["name"] == name:
            return
        _update(number, entry["name"], name)
        if entry["name"].lower() != name.lower():
            findings.warn(f"repository {entry['name']} is called {name} now")
        entry["name"] = name
        if number in self._state["unfilled"]:
            self._state["unfilled"][number] = name

    def _release_names(self, current: set[str], repositories: Sequence[Repository]) -> None:
        """Where a repository has taken over the name of another: find out that one's new name."""
        taken = {each.name.lower(): each for each in repositories}
        for number, entry in list(self._state["repositories"].items()):
            new = taken.get(entry["name"].lower())
            if number in current or new is None or entry.get("gone"):
                continue
            try:
                document = self._ask(f"/repositories/{number}", entry["name"]).document
                self._rename(number, _repository(document, entry["name"]).name)
            except SourceNotFoundError:
                entry["gone"] = True
                self._state["unlisted"].append(number)
            if entry["name"].lower() == new.name.lower():
                findings.warn(
                    f"{new.name} is another repository than before, number {new.id}; rows of the "
                    f"one before, number {number}, stay under the same name"
                )

    def _report_unlisted(
        self, organization: str, listed: set[str], named: Sequence[Repository]
    ) -> None:
        reported: list[str] = self._state["unlisted"]
        current = listed | {each.id for each in named}
        for number, entry in self._state["repositories"].items():
            inside = entry["name"].lower().startswith(f"{organization.lower()}/")
            if inside and number not in current and number not in reported:
                findings.warn(
                    f"organisation {organization} does not list {entry['name']} any more: deleted, "
                    "transferred, or hidden from this token; its rows stay as they are"
                )
                reported.append(number)
        self._state["unlisted"] = [number for number in reported if number not in current]


def _repository(document: Any, name: str = "") -> Repository:
    """The repository that an answer describes.

    Raises:
        SourceDataError: it describes none.
    """
    row: Row = document if isinstance(document, dict) else {}
    name = str(row.get("full_name") or name)
    if not name:
        raise SourceDataError(
            "an answer that describes no repository",
            hint="is `base_url` GitHub's API? GitHub Enterprise: https://HOST/api/v3",
        )
    # the number, since the form of node ids has changed once already
    return Repository(str(row.get("id") or row.get("node_id") or name.lower()), name)


def _update(number: str, before: str, now: str) -> None:
    identity = Repository(number, now).number
    if identity is not None:
        findings.update_rows(
            RowUpdate(ID_COLUMN, identity, {NAME_COLUMN: now}, {NAME_COLUMN: before})
        )
