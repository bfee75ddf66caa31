"""Take the pictures of the live view in the README: a live run, a finished run and the report, on a desk and a phone.

    python docs/make_screenshots.py [--out docs/screens]

It runs the main job on drawn stand-ins, about five minutes on two cores, and looks on in a browser: no patient's image
is in a picture. It needs Playwright for Python (the extra dev) and a Chromium on this machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OVERRIDES = (
    "data.name=phantoms",
    "data.train=1500",
    "data.aux=2500",
    "data.test=600",
    "attack.decoder.max_epochs=12",
)
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 960}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
COLORS = 200
"""In a file, which is then a third as large; a picture of a page has few."""
MOST_BYTES = 300_000
CELL = "sca"
"""Trains when the live run is seen, for it takes longest to: the attacker is at work while activations flow."""
RUN_S = 1800


def main() -> None:
    """Parse, run, look."""
    parser = argparse.ArgumentParser(description="take the pictures of the live view in the README")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("screens"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for path in taken(Path(folder), options.out):
            print(f"{path}: {path.stat().st_size:,} bytes")


def taken(folder: Path, out: Path) -> Iterator[Path]:
    """Run the job in this folder and take all pictures."""
    runs = folder / "runs"
    runs.mkdir()
    settings = [word for override in OVERRIDES for word in ("--set", override)]
    job = _splitfed("scenario", "medmnist_split", *settings, "--out", str(runs), "--live", "none")
    with _process(job, stdout=subprocess.DEVNULL) as running, _served(runs) as address, _browser() as browser:
        yield from _shots(browser, f"{address}", out, "live", _until_live)
        running.wait(RUN_S)
        (run,) = runs.iterdir()
        yield from _shots(browser, f"{address}run/{run.name}", out, "finished", _until_finished)
        yield from _shots(browser, (run / "report.html").as_uri(), out, "report", _until_drawn)


def _shots(browser: Browser, address: str, out: Path, name: str, ready: Any) -> Iterator[Path]:
    """The same page on every screen; all are open before the first is taken, for a live run goes on."""
    pages = {screen: browser.new_page(**settings) for screen, settings in SCREENS.items()}
    for page in pages.values():
        page.goto(address)
    for screen, page in pages.items():
        ready(page)
        path = out / f"{name}-{screen}.png"
        page.screenshot(path=path)
        page.close()
        yield _smaller(path)


def _until_live(page: Page) -> None:
    if not page.locator("#wall").count():
        page.locator("#runs a").click(timeout=60_000)
    page.locator("#progress", has_text=re.compile(f": {CELL}, (round [3-9]|trained)")).wait_for(timeout=RUN_S * 1000)
    page.locator(".status", has_text=f"on {CELL}").wait_for(timeout=RUN_S * 1000)
    page.wait_for_timeout(2500)


def _until_finished(page: Page) -> None:
    page.locator("#connection", has_text="complete").wait_for()
    page.get_by_role("button", name="every defense").click()
    page.locator('label.field:has(> span:text-is("order")) select').first.select_option("number")
    page.wait_for_timeout(1500)


def _until_drawn(page: Page) -> None:
    page.locator("[data-wall] .item").first.wait_for()
    section = "Accuracy against" if (page.viewport_size or {"width": 0})["width"] > 1000 else "The wall"
    page.locator("h2", has_text=section).first.evaluate("element => element.scrollIntoView()")
    page.wait_for_timeout(800)


def _smaller(path: Path) -> Path:
    """The same picture in fewer colors.

    Raises:
        SystemExit: it is too large for the repository even so.
    """
    with Image.open(path) as picture:
        fewer = picture.convert("RGB").quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    fewer.save(path, format="PNG", optimize=True)
    if path.stat().st_size >= MOST_BYTES:
        raise SystemExit(f"{path} is {path.stat().st_size:,} bytes, over {MOST_BYTES:,}: show less in it")
    return path


def _splitfed(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "splitfed", *arguments]


@contextmanager
def _process(command: list[str], **settings: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **settings)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def _served(runs: Path) -> Iterator[str]:
    """The address of the live view of these runs."""
    command = _splitfed("watch", str(runs), "--no-browser", "--port", "0")
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+/", process.stdout.readline())
        if found is None:
            raise SystemExit(f"{' '.join(command)} printed no address")
        yield found[0]


@contextmanager
def _browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if chromium is None:
        raise SystemExit("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    main()
