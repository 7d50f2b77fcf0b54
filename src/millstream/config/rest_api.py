"""A REST API: dlt's declarative configuration, credentials kept out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from millstream.common.redact import keep_secret
from millstream.config.base import Model, invalid

REST_API_CREDENTIALS = "SOURCES__REST_API__CREDENTIALS__"
"""Where dlt looks for what a `client.auth` leaves out, such as `...TOKEN`."""
_SECRET_KEYS = frozenset(
    {"token", "api_key", "password", "client_secret", "access_token", "authorization"}
)


class RestApiConfig(Model):
    """Any REST API, by dlt's declarative `rest_api` configuration, which is taken as it is.

    Credentials come from the environment: what `client.auth` leaves out is looked for by dlt, as in
    `SOURCES__REST_API__CREDENTIALS__TOKEN`, or a template names it: `token: "{{ env.NAME }}"`.
    """

    type: Literal["rest_api"] = "rest_api"
    client: Mapping[str, Any] = Field(
        description="`base_url`, and `auth`, `headers` and `paginator` where they are needed."
    )
    resources: tuple[str | Mapping[str, Any], ...] = Field(
        min_length=1,
        description="What to load, each into a table: a path, or `name`, `endpoint`, "
        "`primary_key`, `write_disposition` and the like. Functions are written as "
        "`package.module:name`.",
    )
    resource_defaults: Mapping[str, Any] | None = Field(
        default=None, description="What holds for all resources that say nothing else."
    )
    parallel: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Requests under way at once: pages of a list that names its last page or its "
        "total, and resources that are read for each row of another.",
    )
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        description="Requests begun in a second; as many as the API allows when left out.",
    )
    etags: bool = Field(
        default=True,
        description="Keep answers that have an `ETag` or a `Last-Modified` on this machine, and "
        "ask only whether they changed. Each run loads all of their rows all the same.",
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Further hosts that links and redirects may lead to: `https://HOST`. "
        "Credentials travel there.",
    )

    @field_validator("client")
    @classmethod
    def _with_base_url(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        url = value.get("base_url")
        split = urlsplit(url) if isinstance(url, str) else None
        if split is None or split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("`base_url` must be a URL such as https://api.example.com/v1/")
        if split.username:
            raise ValueError("`base_url` must not hold credentials: they belong in `auth`")
        if "session" in value:
            raise ValueError("`session` is Millstream's own")
        return value

    @field_validator("client", "resources", "resource_defaults")
    @classmethod
    def _without_secrets(cls, value: Any) -> Any:
        for name, secret in _named_texts(value):
            # one of a template has the value of a variable
            if name in _SECRET_KEYS and secret and secret not in os.environ.values():
                raise invalid(
                    f"`{name}`: credentials do not belong in a file that is committed",
                    hint=f'put it into .env, and write `{name}: "{{{{ env.NAME }}}}"` here',
                )
        for secret in _sent(value):
            keep_secret(secret)
        return value

    @model_validator(mode="after")
    def _with_names(self) -> RestApiConfig:
        default = (self.resource_defaults or {}).get("name")
        for index, each in enumerate(self.resources):
            if not isinstance(each, str) and not (each.get("name") or default):
                raise invalid(
                    f"`resources[{index}]` has no `name`", hint="name it: so is its table called"
                )
        if not self.tables():
            raise invalid(
                "each of the `resources` has `selected: false`: none would be loaded",
                hint="take it out where rows are wanted",
            )
        return self

    @property
    def base_url(self) -> str:
        return str(self.client["base_url"])

    def origins(self) -> tuple[str, ...]:
        """Further URLs that are written here, whose hosts may be asked."""
        found = (path for name, path in _named_texts(self.resources) if name in ("path", ""))
        return (*self.hosts, *(path for path in found if "://" in path))

    def tables(self) -> tuple[tuple[str, str], ...]:
        """The resources to load, and the table of each."""
        found = []
        for each in self.resources:
            resource: Mapping[str, Any] = {"name": each} if isinstance(each, str) else each
            name = str(resource.get("name") or (self.resource_defaults or {}).get("name") or "")
            if name and resource.get("selected", True):
                found.append((name, str(resource.get("table_name") or name)))
        return tuple(found)


def _named_texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a configuration, each with the key that it stands under."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _named_texts(each, str(key).lower())
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _named_texts(each, name)
    elif isinstance(value, str):
        yield name, value


def _sent(value: Any, where: str = "") -> Iterator[str]:
    """The texts in a configuration that may be secret: of `auth`, `headers` and `params`."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if where == "auth" and key not in _SECRET_KEYS:
                continue  # such as a URL, which is not secret
            yield from _sent(each, where or (key if key in ("auth", "headers", "params") else ""))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _sent(each, where)
    elif isinstance(value, str) and where:
        yield value
