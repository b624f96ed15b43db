"""Chromium for tests that look at our pages as a person does; they are skipped where it is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers have little of it
]


@contextmanager
def chromium() -> Iterator[object]:
    """A running browser (playwright's Browser); the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed", exc_type=ImportError)
    path = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def watched_page(browser, url, **options) -> Iterator[object]:
    """A page at `url` that must neither report an error nor ask any other host; `options` go to `new_page`."""
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 820}, **options})
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    page.close()
    origin = "/".join(url.split("/")[:3])
    assert not [text for text in complaints if "status of 422" not in text]
    assert all(address.startswith((origin, "data:", "blob:")) for address in asked)
