"""The page and the report are for everyone: by keyboard alone, at any width, in light and dark, by axe's rules."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.views.charts.test_vendor import packed
from tests.views.page.chromium import Watched, opened
from tests.views.page.journey import Journey

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

AXE = "axe-core@4.14.1"
"""Deque's checker. It is no part of the package: it is fetched for this test, which is skipped where it cannot be."""
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    with tarfile.open(packed(AXE, tmp_path_factory.mktemp("axe"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture(scope="module")
def report(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = [sys.executable, "-m", "splitfed", "report", str(journey.run), "--format", "html", "--output", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def serious(watched: Watched, axe: str) -> list[str]:
    """What axe calls serious or critical, with the elements that it means."""
    watched.page.evaluate(axe)
    found: Any = watched.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_on_the_page(browser: Browser, journey: Journey, axe: str, scheme: str) -> None:
    with opened(browser, journey.page, color_scheme=scheme) as watched:
        watched.page.locator(".item").first.wait_for()
        watched.page.locator('figure[data-name="accuracy"]').wait_for()
        assert serious(watched, axe) == []
        watched.page.locator(".item").first.click()
        watched.page.locator("dialog[open] tbody tr").first.wait_for()
        assert serious(watched, axe) == []
        watched.page.goto(journey.address)
        watched.page.locator("#runs a").wait_for()
        assert serious(watched, axe) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_in_the_report(browser: Browser, report: Path, axe: str, scheme: str) -> None:
    with opened(browser, report.as_uri(), color_scheme=scheme) as watched:
        watched.page.locator("figure svg").first.wait_for()
        assert serious(watched, axe) == []


def test_the_report_stands_alone_and_its_wall_moves(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as watched:
        watched.page.locator("[data-wall] .item").first.wait_for()
        assert watched.page.locator("[data-wall] .item").count() == 24
        assert watched.page.locator("figure svg[role=img]").count() >= 3
        watched.page.wait_for_timeout(300)
        pixels = "document.querySelectorAll('[data-wall] .item canvas')[1].toDataURL()"
        last = watched.page.evaluate(pixels)
        watched.page.locator("[data-wall] input").fill("0")
        watched.page.wait_for_timeout(300)
        assert watched.page.evaluate(pixels) != last
        assert "epoch" in watched.text("[data-wall] output")
        assert watched.complaints == []
        assert watched.asked <= {"", "data"}


def test_the_report_reads_without_scripts(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri(), java_script_enabled=False) as watched:
        tables = watched.page.locator("figure noscript table")
        assert tables.count() >= 3
        assert tables.first.is_visible()
        assert "none" in tables.first.inner_text()


def test_the_keyboard_is_enough(browser: Browser, journey: Journey) -> None:
    with opened(browser, journey.page) as watched:
        page = watched.page
        page.locator(".item").first.wait_for()
        watched.choose("order", "number")
        page.evaluate("document.activeElement.blur()")

        def tab_to(selector: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                    return
            pytest.fail(f"Tab does not lead to {selector}")

        tab_to(".switch button[data-value=every]")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        tab_to(".slider input")
        page.keyboard.press("Home")
        assert "(1 of " in watched.text(".when")
        page.keyboard.press("End")
        tab_to(".item")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        index = int(page.evaluate("document.activeElement.dataset.index"))
        assert index >= 2
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.dataset.index") == "479"
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        page.locator("dialog[open] tbody tr").first.wait_for()
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        page.keyboard.press("Escape")
        watched.until("!document.querySelector('dialog').open")
        assert page.evaluate("document.activeElement.dataset.index") == "0"
        tab_to("#science select")
        page.keyboard.press("ArrowDown")
        watched.until("""document.querySelector('figure[data-name="attacks"] svg').textContent.includes("SSIM")""")


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_is_cut_off_at_this_width(browser: Browser, journey: Journey, width: int) -> None:
    with opened(browser, journey.page, viewport={"width": width, "height": 780}) as watched:
        watched.page.locator(".item").first.wait_for()
        watched.page.locator('figure[data-name="accuracy"] .drawing svg').wait_for()
        assert watched.number("document.documentElement.scrollWidth") <= width
        watched.page.locator(".item").first.click()
        watched.page.locator("dialog[open] tbody tr").first.wait_for()
        assert watched.number("document.querySelector('dialog').scrollWidth") <= width
