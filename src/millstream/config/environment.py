"""The environment, `.env` and dlt's `secrets.toml`."""

from __future__ import annotations

import os
from pathlib import Path

from millstream.errors import ConfigError


def load_dotenv(project: Path) -> None:
    """Put what the project's `.env` says into the environment, which wins where both speak.

    Raises:
        ConfigError: it is there and can't be read.
    """
    import dotenv

    file = project / ".env"
    try:
        dotenv.load_dotenv(file, override=False)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{file}: can't be read: {why}",
            hint="it is a text file that the user who runs this, in a container too, may read",
        ) from None


def credential(*names: str) -> str | None:
    """The first of these that is set: environment variables, then dlt's `secrets.toml`.

    A name in the environment's form, `SOURCES__GITHUB__ACCESS_TOKEN`, is also looked up as the key
    `sources.github.access_token`.
    """
    for name in names:
        if value := os.environ.get(name, "").strip():
            return value
    import dlt

    for name in names:
        if "__" in name:
            value = dlt.secrets.get(name.lower().replace("__", "."))
            if isinstance(value, str) and value.strip():
                return value.strip()
    return None


def dagster_url() -> str | None:
    """Where people reach Dagster's UI: `MILLSTREAM_DAGSTER_URL`, without a slash at its end."""
    return os.environ.get("MILLSTREAM_DAGSTER_URL", "").strip().rstrip("/") or None


def data_dir() -> Path:
    """Where runs keep packages until loaded: `MILLSTREAM_HOME` or `~/.millstream`."""
    return Path(os.environ.get("MILLSTREAM_HOME") or Path.home() / ".millstream")


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its user can read.

    Raises:
        ConfigError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        hint = "MILLSTREAM_HOME names the folder in which runs keep what is not loaded yet"
        if not folder.is_relative_to(data_dir()):  # locks lie beside a database's file
            hint = f"let the user that runs this write to {folder.parent}"
        raise ConfigError(f"{folder}: can't be made: {error.strerror}", hint=hint) from None
