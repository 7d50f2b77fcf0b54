"""The source of `type: rest_api`: dlt's own `rest_api`, sent through a session of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import date, datetime
from difflib import get_close_matches
from functools import wraps
from graphlib import CycleError
from string import Formatter
from typing import TYPE_CHECKING, Any

from millstream.common.redact import redact_url
from millstream.config import RestApiConfig, data_dir
from millstream.config.rest_api import REST_API_CREDENTIALS
from millstream.dlt_compat.pipes import pipe_of, wrap_pages
from millstream.errors import ConfigError, MillstreamError
from millstream.model import Check, Partition, Stream
from millstream.sources import findings, incremental_errors
from millstream.sources.dlt_source import DltSourceAdapter, import_object
from millstream.sources.pages import limit_pages
from millstream.sources.rest_api.resource_config import comes_in_parts, incremental_of, is_emptied

if TYPE_CHECKING:
    from dlt.sources import DltResource, DltSource

    from millstream.sources.rest_api.answers import KnownList
    from millstream.sources.rest_api.session import ApiSession

_CALLABLES = frozenset(
    {"filter", "map", "yield_map", "action", "response_actions", "convert", "transform"}
)
"""Keys of dlt's configuration that hold functions, which YAML names as `package.module:name`."""

_LISTS = "_millstream_lists"
"""Where state says in which place answers have their lists: that of a resource which replaces its
table is dropped by dlt with every run."""

_INCREMENTAL = ("start_value", "end_value", "last_value", "initial_value")
"""What `{incremental.NAME}` may name."""


class RestApiSource(DltSourceAdapter):
    """Loads each resource that is selected as a stream of its own."""

    def __init__(self, config: RestApiConfig, *, reads_anew: bool = False) -> None:
        """
        Args:
            reads_anew: what is read takes the place of what is there, whatever earlier runs knew.
        """
        super().__init__(
            config.base_url,
            streams=tuple(each for each, _ in config.tables()),
            build=lambda _: _build(config, reads_anew=reads_anew),
        )
        self._config = config

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltSource:
        if full_refresh or partition is not None:
            made = RestApiSource(self._config, reads_anew=True)
            return super(RestApiSource, made).open(stream, partition=partition)
        source = super().open(stream)
        written = _resolved(self._config.model_dump(include={"resources", "resource_defaults"}))
        for name, resource in source.selected_resources.items():
            if comes_in_parts(written, name) and not resource.is_transformer:
                from millstream.sources.rest_api.ascending import load_in_parts

                load_in_parts(resource, incremental_of(written, name) or {})
        return source

    def streams(self) -> Sequence[Stream]:
        """The configured resources; no network, no dlt."""
        return [
            Stream(name, table="" if table == name else table)
            for name, table in self._config.tables()
        ]

    def _takes_window(self, name: str) -> bool:
        # else dlt's rest_api would look in vain for the parameters that it goes into
        written = self._config.model_dump(include={"resources", "resource_defaults"})
        return incremental_of(written, name) is not None

    def _initial_value(self, resource: DltResource) -> Any:
        # a JSON answer has times as texts
        written = _resolved(self._config.model_dump(include={"resources", "resource_defaults"}))
        found = (incremental_of(written, resource.name) or {}).get("initial_value")
        return "" if found is None else found

    def check(self) -> Sequence[Check]:
        """Whether the first page of the first resource can be read."""
        try:
            source = self._build(None)
            first = next(iter(source.selected_resources.values()))
            limit_pages(first, 1)
            for _ in first:
                break
        except MillstreamError as error:
            return [Check("source", False, error.message, error.hint)]
        except Exception as error:
            inner = _own_error(error)
            return [Check("source", False, inner.message, inner.hint)]
        return [Check("source", True, f"{self._config.base_url} gives {first.name}")]


def _own_error(error: BaseException) -> MillstreamError:
    """The error of ours that dlt has wrapped.

    Raises:
        BaseException: there is none.
    """
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, MillstreamError):
            return inner
        if explained := incremental_errors.explain(inner):
            return explained
        inner = inner.__cause__ or inner.__context__
    raise error


def _build(config: RestApiConfig, *, reads_anew: bool = False) -> DltSource:
    """dlt's source, its requests sent through a session of ours.

    Args:
        reads_anew: an answer without rows would take rows out of any table.

    Raises:
        ConfigError: dlt does not accept the configuration.
    """
    from dlt.common.configuration.exceptions import ConfigFieldMissingException
    from dlt.common.exceptions import DictValidationException
    from dlt.sources.rest_api import rest_api_source

    from millstream.sources.http.response_cache import ResponseCache
    from millstream.sources.rest_api.session import ApiSession

    auth = config.client.get("auth")
    if isinstance(auth, Mapping) and auth.get("location") == "cookie":
        raise ConfigError(
            "source.client.auth: dlt sends no key in a cookie",
            hint='name it under `client.headers`: `Cookie: "NAME={{ env.NAME }}"`',
        )
    session = ApiSession(
        config.base_url,
        parallel=config.parallel,
        per_second=config.requests_per_second,
        origins=config.origins(),
        cache=ResponseCache(data_dir() / "http_cache") if config.etags else None,
    )
    written: dict[str, Any] = {
        "client": config.client,
        "resources": config.resources,
        "resource_defaults": config.resource_defaults,
    }
    resolved = _resolved(written)
    for each in [resolved["resource_defaults"], *resolved["resources"]]:
        if isinstance(each, Mapping):
            name = each.get("name")
            where = f"source.resources: {name}" if name else "source.resource_defaults"
            is_read_on = not name or incremental_of(resolved, name) is not None
            _check_templates(each.get("endpoint"), f"{where}.endpoint", is_read_on)
    try:
        made, lists = _with_lookahead(resolved, session)
        source = rest_api_source(made)
    except DictValidationException as error:
        raise ConfigError(
            f"source: dlt's rest_api does not accept it: {_shortened(str(error))}",
            hint="the attributes are those of dlt's declarative `rest_api` source",
        ) from None
    except ConfigFieldMissingException as error:
        missing = sorted(error.traces)
        raise ConfigError(
            f"source.client.auth: no value for {', '.join(missing)}",
            hint=f"put it into .env: {REST_API_CREDENTIALS}{missing[0].upper()}; or name a "
            f"variable of your own: `{missing[0]}: '{{{{ env.NAME }}}}'`",
        ) from None
    except CycleError as error:
        raise ConfigError(
            f"source: resources refer to each other: {' to '.join(error.args[1])}",
            hint="one of them must be read without the rows of another",
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"source: {error}", hint="see dlt's `rest_api` source for what may be written there"
        ) from None
    for name, resource in source.resources.items():
        incremental = incremental_of(made, name)
        if resource.is_transformer:
            _read_dependents(resource, session, incremental)
        elif reads_anew:
            lists[name].is_read_anew = True
        elif is_emptied(resource.write_disposition):
            _remember_list(resource, lists[name])
        if incremental is not None:
            _compare_address(resource, redact_url(config.base_url))
    return source


def _check_templates(value: Any, where: str, has_incremental: bool) -> None:
    """Refuse a template that names nothing: dlt breaks off amid the first request.

    Raises:
        ConfigError: there is one.
    """
    if isinstance(value, Mapping):
        for name, each in value.items():
            _check_templates(each, f"{where}.{name}", has_incremental)
    if not isinstance(value, str):
        return
    for _, field, _, _ in Formatter().parse(value):
        known = [f"incremental.{name}" for name in _INCREMENTAL]
        if field is None or (field and not field.startswith("incremental.")):
            continue
        if field and not has_incremental:
            raise ConfigError(
                f"{where}: `{{{field}}}`, and the resource has no `incremental`",
                hint="configure `endpoint.incremental`, or take the template out",
            )
        if field in known:
            continue
        close = get_close_matches(field, known, 1)
        raise ConfigError(
            f"{where}: `{{{field}}}` names nothing",
            hint=f"did you mean `{{{close[0]}}}`?"
            if close
            else f"choose from {', '.join(f'`{{{name}}}`' for name in known)}; write braces that "
            "are no template twice: `{{` and `}}`",
        )


def _remember_list(resource: DltResource, known: KnownList) -> None:
    """Keep where the answers have their list, with the rows that were found there."""
    import dlt

    def remembered(rows: Iterator[Any]) -> Iterator[Any]:
        state = dlt.current.resource_state(_LISTS)
        known.empties = True
        known.restore(state.get(resource.name))
        yield from rows
        if (found := known.to_state()) is not None:
            state[resource.name] = found

    wrap_pages(resource, remembered)


def _compare_address(resource: DltResource, address: str) -> None:
    """Say where a cursor is continued at another address; nobody can tell if it is another API."""
    import dlt

    def told(rows: Iterator[Any]) -> Iterator[Any]:
        state = dlt.current.resource_state(resource.name)
        known = state.get("address", address)
        state["address"] = address
        if known != address:
            findings.warn(
                f"{resource.name}: `base_url` was {known} and is {address}; what is read goes on "
                "from the cursor of before. If it is another API, `--full-refresh` reads all of it"
            )
        yield from rows

    wrap_pages(resource, told)


def _shortened(text: str) -> str:
    """Of what each kind of value would have had to be, the lines that name a key or a value."""
    telling = [
        line[line.find("Path") :]
        for line in text.splitlines()
        if "unexpected fields" in line or "is not one of" in line or "missing" in line
    ]
    return "; ".join(dict.fromkeys(telling)) or text


def _resolved(value: Any, key: str = "") -> Any:
    """The configuration as dlt takes it: functions instead of their names, times as text."""
    if isinstance(value, Mapping):
        return {name: _resolved(each, str(name)) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolved(each, key) for each in value]
    if key in _CALLABLES and isinstance(value, str) and ":" in value:
        return import_object(value)
    if isinstance(value, datetime):  # YAML makes them of what JSON has as text
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def _with_lookahead(
    written: dict[str, Any], session: ApiSession
) -> tuple[Any, Mapping[str, KnownList]]:
    """The configuration with our session, and with paginators that let it read ahead.

    Returns:
        It, and where the list of each resource is.
    """
    from dlt.sources.helpers.rest_client.detector import single_entity_path
    from dlt.sources.rest_api.config_setup import create_paginator, get_auth_class

    from millstream.sources.rest_api.answers import KnownList
    from millstream.sources.rest_api.lookahead import LookaheadPaginator, detector

    detect = detector(written["client"]["base_url"], session)

    def wrapped(paginator: Any, fallback: LookaheadPaginator | None = None) -> LookaheadPaginator:
        found = create_paginator(paginator)
        if found is None and fallback is not None:
            return fallback
        return LookaheadPaginator(found, session, detect)

    made = deepcopy({key: value for key, value in written.items() if value is not None})
    client = made["client"]
    auth = client.get("auth")
    kind = auth.get("type") if isinstance(auth, Mapping) else auth
    if isinstance(kind, str):
        get_auth_class(kind)  # its refusal is one line
    client["session"] = session
    client["paginator"] = wrapped(client.get("paginator"))
    defaults = made.get("resource_defaults") or {}
    lists: dict[str, KnownList] = {}
    for index, each in enumerate(made["resources"]):
        resource = {"name": each, "endpoint": each} if isinstance(each, str) else each
        if not isinstance(resource, dict):
            continue
        endpoint = resource.get("endpoint", {})
        own = {"path": endpoint} if isinstance(endpoint, str) else endpoint
        all_of_it = {**(defaults.get("endpoint") or {}), **own} if isinstance(own, dict) else {}
        name = str(resource.get("name") or defaults.get("name") or "")
        if not isinstance(own, dict):
            continue  # dlt says what is wrong with it
        path = str(own.get("path", name))
        selector = all_of_it.get("data_selector")
        known = KnownList(selector if isinstance(selector, str) else None)
        paginator = all_of_it.get("paginator")
        if paginator is None and single_entity_path(path):
            paginator = "single_page"
        lists[name] = known
        own["paginator"] = wrapped(paginator, client["paginator"]).reading(known)
        made["resources"][index] = {**resource, "endpoint": own}
    return made, lists


def _read_dependents(
    resource: DltResource, session: ApiSession, incremental: dict[str, Any] | None
) -> None:
    """Let a resource that is read once for each row of another be read for several at once.

    The pages keep the order of the rows. dlt would begin each further page of these rows where the
    incremental stands by then, and lose what is older: ours stays where the run began.
    """
    if incremental is not None:
        from millstream.dlt_compat.incrementals import StableIncremental

        resource.apply_hints(incremental=StableIncremental(**incremental))
    pipe = pipe_of(resource)
    generate: Callable[..., Iterator[Any]] = pipe.gen

    @wraps(generate)
    def in_order(items: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
        rows = items if isinstance(items, list) else [items]
        # made here, since dlt's state belongs to this thread; fetched there
        pages = (generate([row], *arguments, **named) for row in rows)
        for found in session.map(list, pages):
            yield from found

    pipe.replace_gen(in_order)
