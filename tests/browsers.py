"""A real browser for tests of pages; they are skipped, with the reason, where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = {"width": 390, "height": 844}


@contextmanager
def running_browser(sync_api: Any) -> Iterator[Any]:
    """Start the browser on the PATH, or skip the test.

    :param sync_api: the module of playwright.
    """
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser on the PATH: none of {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        # a container has no user namespaces for the sandbox; the only page ever opened is our own
        running = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield running
        running.close()
