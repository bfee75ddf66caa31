"""Chromium without a window, driven by Playwright, where both are installed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from splitfed.errors import SplitfedError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_S = 60.0
WATCH_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: "longtask", buffered: true });
"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
VIEWPORT = {"width": 1280, "height": 900}
WHEEL_PX = 700
SCROLLER = ".scroller"
"""The element that the wall's images scroll in."""


class NoBrowserError(SplitfedError):
    """There is none to drive, for a reason that the message gives."""


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, closed at the end.

    Raises:
        NoBrowserError: Playwright or Chromium is not installed, or does not start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise NoBrowserError("playwright is not installed: pip install playwright") from None
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise NoBrowserError("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            raise NoBrowserError(f"{path} does not start: {str(error).splitlines()[0]}") from None
        try:
            yield Browser(chromium)
        finally:
            chromium.close()


class Browser:
    """Opens pages; each has a session of its own."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    @contextmanager
    def page(self, address: str) -> Iterator[Page]:
        """A page at this address, closed at the end."""
        context = self._chromium.new_context(viewport=VIEWPORT)
        context.add_init_script(WATCH_TASKS)
        tab = context.new_page()
        tab.set_default_timeout(WAIT_S * 1000)
        started = time.monotonic()
        tab.goto(address, wait_until="commit")
        try:
            yield Page(tab, started)
        finally:
            context.close()


class Page:
    """An open page."""

    def __init__(self, tab: Any, started: float) -> None:
        self._tab = tab
        self._started = started

    def first_paint_s(self) -> float:
        """Seconds from the request to the first text or picture."""
        return float(self._until(PAINTED)) / 1000

    def shows_events_s(self, count: int) -> float:
        """Seconds from the request until it shows what so many events come to."""
        self._until(f"Number(document.body.dataset.events ?? 0) >= {count} || null")
        return time.monotonic() - self._started

    def stay(self, seconds: float) -> None:
        """Let it do what it does."""
        self._tab.wait_for_timeout(seconds * 1000)

    def scroll_wall(self) -> int:
        """Scroll the wall from its top to its end; the pixels that were passed."""
        self._tab.locator(f"{SCROLLER} .item").first.wait_for()
        wall = self._tab.locator(SCROLLER).first
        wall.scroll_into_view_if_needed()
        wall.hover()
        self._tab.evaluate("window.longTasks.length = 0")
        passed = -1
        while (now := int(wall.evaluate("element => element.scrollTop"))) > passed:
            passed = now
            self._tab.mouse.wheel(0, WHEEL_PX)
            self._tab.wait_for_timeout(30)
        return passed

    def longest_task_ms(self) -> float:
        """The longest that the page could not answer, in milliseconds; below 50 the browser does not tell, 0 then."""
        self._tab.wait_for_timeout(200)  # they are told of a little later
        return float(self._tab.evaluate("Math.max(0, ...window.longTasks)"))

    def _until(self, expression: str) -> Any:
        """What this gives once it is not null; asked from outside, for the page's policy forbids to ask within."""
        deadline = time.monotonic() + WAIT_S
        while (value := self._tab.evaluate(expression)) is None:
            if time.monotonic() > deadline:
                raise SplitfedError(f"the page never came to: {expression}")
            self._tab.wait_for_timeout(20)
        return value
