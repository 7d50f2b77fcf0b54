"""Files over HTTP: a redirect to a host that nobody named is refused, before it is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from millstream.errors import SourceError

_PORTS = {"http": 80, "https": 443}


def options(path: str, given: Mapping[str, Any], hosts: Collection[str]) -> dict[str, Any]:
    """fsspec's storage options for a path, of which a part may be read over HTTP.

    Args:
        given: the user's own.
        hosts: where redirects may lead, besides the path's own host: `host` or `host:port`.
    """
    found = dict(given)
    for protocol in _PORTS:
        if f"{protocol}://" in path:  # first of all, or behind others: `zip://*.json::https://...`
            made = {"get_client": _Client(frozenset(hosts))}
            found[protocol] = {**found.get(protocol, {}), **made}
    return found


def refusal(error: BaseException | None) -> SourceError | None:
    """The refusal that an error of fsspec's comes from, if it does."""
    while error is not None:
        if isinstance(error, SourceError):
            return error
        error = error.__cause__ or error.__context__
    return None


@dataclass(frozen=True)
class _Client:
    """Makes fsspec's session. By value alike, since fsspec keeps file systems by their options."""

    hosts: frozenset[str]

    async def __call__(self, **kwargs: Any) -> Any:
        import aiohttp

        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(self._check)
        return aiohttp.ClientSession(trace_configs=[trace], **kwargs)

    async def _check(self, session: Any, context: Any, redirect: Any) -> None:
        headers = redirect.response.headers
        where = str(redirect.url)
        # as aiohttp reads it
        there = headers.get("Location") or headers.get("URI") or ""
        try:
            url = str(redirect.url.join(type(redirect.url)(there)))
            is_fine = self._may(where, url)
        except ValueError as error:
            raise SourceError(
                f"{_plain(where)} redirects to an invalid URL: {error}",
                hint="ask whoever runs that host, or copy the file from there yourself",
            ) from None
        if not is_fine:
            host = "{0.scheme}://{0.netloc}".format(urlsplit(_plain(url)))
            raise SourceError(
                f"{_plain(where)} redirects to another host, {host}; refused",
                hint=f"if you trust it, name it under `source`: `hosts: [{urlsplit(host).netloc}]`",
            )

    def _may(self, where: str, url: str) -> bool:
        here, there = urlsplit(where), urlsplit(url)
        if there.scheme not in _PORTS or (here.scheme, there.scheme) == ("https", "http"):
            return False
        port = there.port or _PORTS[there.scheme]
        if there.hostname == here.hostname:
            before = here.port or _PORTS[here.scheme]
            if port == before or (before, port) == (80, 443):
                return True
        is_default = port == _PORTS[there.scheme]
        # IPv6 stands in brackets, `[::1]:8080`, as in any address
        host = f"[{there.hostname}]" if ":" in (there.hostname or "") else there.hostname
        return f"{host}:{port}" in self.hosts or (is_default and host in self.hosts)


def _plain(url: str) -> str:
    """Without a password, and without what a signed address has behind its `?`."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return f"{split.scheme}://{host}{split.path}"
