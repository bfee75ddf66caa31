"""The browser that the tests drive: the machine's own Chromium, headless, through Playwright."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 120_000
"""How long the page may take for anything, on a machine that does much else."""
SETTINGS: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce"}


def executable() -> str:
    """Where Chromium lies; without one the test is skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed, so the page is not driven: apt-get install chromium")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, closed at the end."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    path = executable()
    with playwright.sync_playwright() as driver:
        # without a sandbox, for root has none; it opens nothing but these pages
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page with what it asked for and complained of.

    Attributes:
        page: Playwright's.
        asked: the hosts of all that it asked for.
        complaints: errors and warnings of its console.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: set[str] = set()
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.asked.add(urlsplit(request.url).hostname or "data"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def text(self, selector: str) -> str:
        """What this element says."""
        return self.page.locator(selector).first.inner_text()

    def number(self, expression: str) -> float:
        """What this gives in the page, which has to be a number."""
        value = self.page.evaluate(expression)
        assert isinstance(value, (int, float)), value
        return value

    def until(self, expression: str, *, patience_s: float = PATIENCE_MS / 1000) -> None:
        """Wait until this holds in the page. Asked from here, for the page's policy forbids what polls in there."""
        deadline = time.monotonic() + patience_s
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never so: {expression}"
            self.page.wait_for_timeout(50)

    def field(self, name: str) -> Locator:
        """The select or slider under this label."""
        return self.page.locator(f'main label.field:has(> span:text-is("{name}")) > :is(select, input)')

    def choose(self, name: str, value: str) -> None:
        """Choose a value in the field under this label."""
        self.field(name).select_option(value)

    def numbers_of(self, name: str) -> list[list[str]]:
        """The rows of the table beneath the figure of this name."""
        figure = self.page.locator(f'figure[data-name="{name}"]')
        if not figure.locator("details").evaluate("element => element.open"):
            figure.locator("summary").click()
        rows = figure.locator("tbody tr")
        rows.first.wait_for()  # a table is made once somebody opens it
        return [row.split("\t") for row in rows.all_inner_texts()]


@contextmanager
def opened(browser: Browser, address: str, **settings: Any) -> Iterator[Watched]:
    """A page at this address, in a session of its own."""
    context = browser.new_context(**(SETTINGS | settings))
    try:
        watched = Watched(context.new_page())
        watched.page.goto(address)
        yield watched
    finally:
        with suppress(Exception):  # a browser that has died is not what the test is about
            context.close()
