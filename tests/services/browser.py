"""A real browser, from the system's packages, driven through Playwright."""

from __future__ import annotations

import importlib.util
import shutil

from services import missing

# in a container there is neither a sandbox, nor a graphics card, nor much shared memory
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    """The path of Chromium, for Playwright's `executable_path`."""
    if importlib.util.find_spec("playwright") is None:
        missing("Playwright is not installed")
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    return missing("no Chromium on PATH")
