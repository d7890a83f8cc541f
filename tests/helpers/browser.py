"""The system's Chromium, driven by Playwright: pages are tested as readers see them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def started() -> Iterator[Any]:
    """Give a running headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, as in containers.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=options)
        yield browser
        browser.close()


@dataclass(kw_only=True)
class Opened:
    """A page that was opened, and what happened meanwhile."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def charts(self) -> dict[str, bool]:
        """Return the charts by name, and whether each was drawn."""
        found: dict[str, bool] = self.page.evaluate(
            "() => Object.fromEntries([...document.querySelectorAll('figure')].map(f => "
            "[f.id, (i => i.complete && i.naturalWidth > 100 && i.clientHeight > 100 && "
            "i.alt.length > 10)(f.querySelector('img'))]))"
        )
        return found

    def too_wide(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width


@contextmanager
def opened(browser: Any, file: Path, width: int = 1280) -> Iterator[Opened]:
    """Open a file in a window of that width, in CSS pixels."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    seen = Opened(page=page)
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on("dialog", lambda dialog: seen.console.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(file.resolve().as_uri(), wait_until="networkidle")
    yield seen
    page.close()
