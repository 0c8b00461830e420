"""A real browser without a window, that opens a report as people do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_here() -> str:
    """Its path; skips the test where there is none."""
    browser = next((path for path in map(shutil.which, NAMES) if path), None)
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}")
    return browser


def opened(page: Path, profile: Path) -> str:
    """The page as the browser has understood it; skips the test where there is no browser."""
    browser = browser_here()
    options = f"--headless --no-sandbox --disable-gpu --user-data-dir={profile} --virtual-time-budget=2000 --dump-dom"
    done = subprocess.run([browser, *options.split(), page.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
