"""Blank out secrets in what is shown to people.

The last line of defence: every layer below keeps secrets out of its errors. `redact` blanks the
environment's own secrets by value, and what has the form of a secret. `redact_foreign` is for texts
of drivers and of other programs: it goes by words such as `password:` too, which would also blank
hints of Millstream's. `redact_logins` blanks the user of a URL as well; `redact_url` is for what is
known to be one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, urlsplit

BLANK = "***"

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE_KEY|API_KEY|ACCESS_KEY")
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host
    # but for the word that examples have there
    (
        re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]*):(?!(?-i:PASSWORD)@)[^\s/'\"]+@", re.I),
        rf"\1:{BLANK}@",
    ),
    # GitHub's tokens, by their documented prefixes
    (re.compile(r"\b(gh[pousr]_|github_pat_)\w{8,}"), rf"\1{BLANK}"),
    # the digit: "a token, mentioned" is no token
    (re.compile(r"\b(Bearer|Basic|token)\s+(?=\S*\d)[\w.~+/=-]{8,}", re.I), rf"\1 {BLANK}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.S), BLANK),
)
_IN_URL = re.compile(r"(?P<head>\w+://[^\s/:@]*):(?!PASSWORD@)(?P<secret>[^\s@]+)@")
_IN_TEXT = re.compile(
    r"(?P<head>[\"']?\b(?:password|passwd|pwd|token|private_key|secret)\b[\"']?\s*[=:]\s*)"
    # a template names where the secret is
    r"(?P<secret>(?![\"']?\{\{ env\.\w+ \}\}(?![^\s\"'`,;&]))(?:\"[^\"]*\"|'[^']*'|[^\s,;&]+))",
    re.IGNORECASE,
)
_QUERY_SECRETS = re.compile(
    r"X-(Amz|Goog)-.*|AWSAccessKeyId|GoogleAccessId|Signature|Expires|Key-Pair-Id|Policy"
    r"|access_token|token|api_?key|key|password|secret",
    re.IGNORECASE,
)
# of Azure, beside `sig`
_AZURE = re.compile(r"s(ig|e|p|pr|r|rt|s|t|v|koid|ktid|kt|ke|ks|kv)")
_HTTP = re.compile(r"\bhttps?://[^\s'\"<>]+\?[^\s'\"<>]+")
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^@\s/]*@")
_SHORTEST = 6
"""A shorter value, such as a user called "dw", would blank out ordinary words."""
_known: set[str] = set()


def keep_secret(text: str) -> None:
    """Blank out from now on what a text has from the environment, whatever the variable's name."""
    _known.update(each for each in os.environ.values() if len(each) >= _SHORTEST and each in text)


def redact(text: str) -> str:
    """The text without the values of secret environment variables, and without what looks like one.

    >>> redact("cannot reach postgresql://loader:hunter2@db:5432/dw")
    'cannot reach postgresql://loader:***@db:5432/dw'
    >>> redact("set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    'set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE'
    """
    for value in _forms(_secret_values() | _known):
        text = text.replace(value, BLANK)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _HTTP.sub(lambda url: redact_url(url[0]), text)


def redact_foreign(text: str, secrets: Iterable[str] = ()) -> str:
    """A foreign text without secrets: those given, the environment's, and what looks like one.

    >>> redact_foreign("no route to postgresql://ann:pa55@db/x")
    'no route to postgresql://ann:***@db/x'
    >>> redact_foreign("write `token: '{{ env.NAME }}'`, not token: abc")
    "write `token: '{{ env.NAME }}'`, not token: ***"
    """
    for secret in _forms(secrets):
        text = text.replace(secret, BLANK)
    text = _IN_URL.sub(rf"\g<head>:{BLANK}@", redact(text))
    return _IN_TEXT.sub(rf"\g<head>{BLANK}", text)


def _forms(secrets: Iterable[str]) -> list[str]:
    """How secrets may be written, in URLs too; the longest first."""
    ways = (str, quote, quote_plus, lambda secret: quote(secret, safe=""))
    return sorted({way(each) for each in secrets if each for way in ways}, key=len, reverse=True)


def redact_logins(text: str) -> str:
    """A text without the user and the password of any URL in it.

    >>> redact_logins("no primary at mongodb+srv://ann:pa55@db/x")
    'no primary at mongodb+srv://***@db/x'
    """
    return _LOGIN.sub(rf"\1{BLANK}@", text)


def redact_url(url: str) -> str:
    """A URL without password and signature, which differ by the day and are nobody's business.

    >>> redact_url("a/*.jsonl"), redact_url("simplecache::http://u:p@h/a?v=1&sig=x")
    ('a/*.jsonl', 'simplecache::http://h/a?v=1')
    """
    return "::".join(map(_redact_part, url.split("::")))


def _redact_part(url: str) -> str:
    try:
        split = urlsplit(url)
    except ValueError:  # a pattern with `[`
        return url
    if not split.scheme or "://" not in url:
        return url
    host = split.netloc.rpartition("@")[2]
    plain = f"{split.scheme}://{host}"
    path = url[url.index("://") + 3 + len(split.netloc) :]
    if split.scheme not in ("http", "https"):
        return plain + path  # `?` and `#` are characters of names there
    path, _, query = path.partition("?")
    pairs = [(pair, pair.partition("=")[0]) for pair in query.split("&") if pair]
    is_azure = any(name == "sig" for _, name in pairs)
    kept = [
        pair
        for pair, name in pairs
        if not _QUERY_SECRETS.fullmatch(name) and not (is_azure and _AZURE.fullmatch(name))
    ]
    return plain + path + ("?" + "&".join(kept) if kept else "")


def _secret_values() -> set[str]:
    """Values of the environment, `.env` included, whose names say that they are secret.

    A connection string counts by its password alone: host and database help to find the mistake.
    """
    values = set()
    for name, value in os.environ.items():
        if not _SECRET_NAME.search(name.upper()):
            continue
        connection = re.match(r"^[a-z][a-z0-9+.-]*://[^/@]*:(?P<password>[^@]+)@", value, re.I)
        secret = connection["password"] if connection else value
        if len(secret) >= _SHORTEST and not _names_a_thing(name, value):
            values.add(secret)
    return values


def _names_a_thing(name: str, value: str) -> bool:
    """Parts of credentials that are no secrets: `..._CREDENTIALS__HOST`, paths to key files."""
    part = name.upper().rpartition("__")[2]
    return part in {"HOST", "PORT", "DATABASE", "USERNAME", "PROJECT_ID", "CLIENT_EMAIL"} or (
        os.path.sep in value and len(value) < 512 and os.path.exists(value)  # noqa: PTH110
    )
