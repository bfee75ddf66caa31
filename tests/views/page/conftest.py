"""The browser, and the one run that all tests of the page look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.views.page import chromium
from tests.views.page.journey import Journey, started, travelled
from tests.views.page.server import WatchServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; a test that asks for it is skipped where there is none."""
    with chromium.browser() as started_one:
        yield started_one


@pytest.fixture(scope="session")
def journey(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """A run that was watched from its beginning to its end, and the server that still shows it."""
    folder = tmp_path_factory.mktemp("journey")
    with started(folder) as process, WatchServer(folder / "runs") as server:
        yield travelled(browser, folder, server, process)


@pytest.fixture
def watched(browser: Browser, journey: Journey) -> Iterator[chromium.Watched]:
    """The page of the finished run, with its wall; it asks nobody else, and its console stays silent."""
    with chromium.opened(browser, journey.page) as one:
        one.page.locator(".item").first.wait_for()
        one.page.locator('figure[data-name="accuracy"]').wait_for()
        yield one
        assert one.asked <= {"127.0.0.1", "data"}
        assert one.complaints == []
