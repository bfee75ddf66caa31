"""The page of a run that is over: the wall and its choices, one image by itself, INVALID, and the run once more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from splitfed.records.store import RunStore
from tests.views.page.chromium import Watched, opened
from tests.views.page.journey import CELLS, ROUNDS, Journey

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

IMAGES = 480

ENDED = {"ridge", "decoder", "untrained", "retrieval", f"ridge@TRAIN{ROUNDS}"}
"""The attacks and controls that came to something."""


def captions(watched: Watched, line: int) -> list[str]:
    """One of the two lines beneath the images in sight, in the order in which they are seen."""
    found: list[str] = watched.page.evaluate(
        """(line) => [...document.querySelectorAll(".item:not([hidden])")]
          .sort((one, other) => one.dataset.index - other.dataset.index)
          .map((item) => item.querySelectorAll(".tile-caption")[line].textContent)""",
        line,
    )
    return found


def ssims(watched: Watched) -> list[float]:
    return [float(found[1]) for text in captions(watched, 1) if (found := re.search(r"SSIM (-?[\d.]+)", text))]


def inked(watched: Watched, selector: str) -> int:
    """How many of these canvases in sight show anything but emptiness."""
    return int(
        watched.number(
            f"""[...document.querySelectorAll({selector!r})].filter((canvas) => {{
              const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return data.some((value, place) => place % 4 === 3 && value > 0);
            }}).length"""
        )
    )


def picture(watched: Watched, index: int) -> str:
    """The pixels of the reconstruction in an item."""
    return str(
        watched.page.evaluate(f"""document.querySelectorAll('.item[data-index="{index}"] canvas')[1].toDataURL()""")
    )


def test_only_what_is_in_sight_exists_and_it_is_drawn(watched: Watched) -> None:
    assert f"{IMAGES} private images" in watched.text(".status")
    items = watched.page.locator(".item:not([hidden])").count()
    assert 8 <= items < 150
    watched.until(f"""document.querySelectorAll(".item:not([hidden]) canvas").length === {2 * items}""")
    watched.page.wait_for_timeout(300)
    assert inked(watched, ".item:not([hidden]) canvas") == 2 * items


def test_the_wall_is_sorted_as_asked(watched: Watched) -> None:
    worst = ssims(watched)
    assert worst == sorted(worst, reverse=True)
    watched.choose("order", "safe")
    best = ssims(watched)
    assert best == sorted(best)
    assert best[0] < worst[0]
    watched.choose("order", "number")
    assert [caption.split(" ")[0] for caption in captions(watched, 0)[:3]] == ["#0", "#1", "#2"]
    watched.choose("order", "class")
    assert {caption.split(" · ")[1] for caption in captions(watched, 0)[:8]} == {"AbdomenCT"}


def test_scores_are_those_of_the_record(watched: Watched, journey: Journey) -> None:
    final = watched.page.evaluate(
        f"fetch('/api/runs/{journey.run.name}/final?cell=none&attack=ridge').then((answer) => answer.json())"
    )
    watched.choose("attack", "ridge")
    watched.choose("order", "number")
    watched.until("""document.querySelector(".status").textContent.includes("what ridge makes of each on none")""")
    shown = captions(watched, 1)[5]
    assert shown == f"{final['psnr_db'][5]:.1f} dB · rank {final['reid_rank'][5]} · SSIM {final['ssim'][5]:.2f}"


def test_the_choice_of_cell_and_attack_changes_what_is_shown(watched: Watched) -> None:
    watched.choose("order", "number")
    watched.page.wait_for_timeout(300)
    seen = {picture(watched, 0)}
    for cell in CELLS:
        for attack in ("ridge", "untrained"):
            watched.choose("cell", cell)
            watched.choose("attack", attack)
            watched.until(
                f"""document.querySelector(".status").textContent.includes("{attack} makes of each on {cell}")"""
            )
            watched.page.wait_for_timeout(300)
            seen.add(picture(watched, 0))
    assert len(seen) >= 4


def test_the_slider_leads_back_to_the_first_moment(watched: Watched) -> None:
    watched.choose("attack", "decoder")
    watched.choose("order", "number")
    watched.until("""document.querySelector(".status").textContent.includes("what decoder makes of each on none")""")
    watched.page.wait_for_timeout(300)
    assert "what it came to" in watched.text(".when")
    last = picture(watched, 0)
    watched.field("moment").fill("0")
    assert re.match(r"(round \d|after training), epoch \d+ \(1 of \d\)", watched.text(".when"))
    assert "48 private images" in watched.text(".status")
    watched.page.wait_for_timeout(300)
    assert picture(watched, 0) != last


def test_an_image_under_every_defense(watched: Watched) -> None:
    watched.page.get_by_role("button", name="every defense").click()
    item = watched.page.locator('.item[data-index="0"]')
    assert item.locator("canvas").count() == 1 + len(CELLS)
    watched.until("""/laplace\\n\\d/.test(document.querySelector(".item").textContent)""")
    said = [text.split("\n")[0] for text in item.locator(".cell-caption").all_inner_texts()]
    assert said == ["original", *CELLS]


def test_one_image_by_itself(watched: Watched) -> None:
    watched.choose("order", "number")
    watched.page.locator('.item[data-index="3"]').click()
    dialog = watched.page.locator("dialog[open]")
    dialog.locator(".heat").wait_for()
    named = dict(caption.split(" · ") for caption in captions(watched, 0)[:5])
    assert dialog.locator("h2").inner_text() == f"Image 3, {named['#3']}"
    assert dialog.locator(".made figure").count() == 1 + len(ENDED)  # the original beside them
    rows = dialog.locator("tbody tr").all_inner_texts()
    assert {row.split("\t")[0].removesuffix(" (strongest)") for row in rows} == ENDED
    assert dialog.locator(".activation svg").count() == 1
    assert dialog.locator(".nearest canvas").count() == 3 * len(ENDED)
    watched.page.wait_for_timeout(300)
    assert inked(watched, "dialog .made canvas") == 1 + len(ENDED)
    dialog.get_by_role("button", name="next image").click()
    watched.until(f"""document.querySelector("#detail-title").textContent === "Image 4, {named["#4"]}" """)
    dialog.get_by_role("button", name="close").click()
    assert not watched.page.locator("dialog[open]").count()


def test_the_cells_are_those_of_the_results(watched: Watched, journey: Journey) -> None:
    shown = [row.split("\t") for row in watched.page.locator("#cells tbody tr").all_inner_texts()]
    said = {row[0]: row[5] for row in shown if len(row) > 5}
    results = RunStore.open(journey.run).results
    assert said == {cell.cell: f"{100 * cell.reid_rate:.1f} %" for cell in results.cells if cell.reid_rate is not None}


def test_invalid_is_seen_and_explained(watched: Watched) -> None:
    banners = watched.text("#banners")
    assert "SYNTHETIC DATA" in banners
    assert "INVALID: none, laplace failed a gate" in banners
    table = watched.text("#cells")
    assert "Gate failed:" in table
    assert "attack beats class mean: strongest attack" in table
    assert watched.page.locator("#cells tr.invalid").count() >= 2
    assert watched.field("cell").locator("option").first.inner_text() == "none (INVALID)"


def test_the_figures_hold_what_was_measured(watched: Watched) -> None:
    drawn = {element.get_attribute("data-name") for element in watched.page.locator("figure[data-name]").all()}
    assert {"attacks", "cells", "accuracy", "loss", "finished 0"} <= drawn
    assert len(watched.numbers_of("loss")) == ROUNDS * len(CELLS)
    rules = [row[0] for row in watched.numbers_of("attacks")[-3:]]
    assert sorted(rules) == ["class mean", "mean image", "nearest auxiliary"]
    watched.choose("measure", "reid_top1")
    watched.until("""document.querySelector('figure[data-name="attacks"] .legend').textContent.includes("ridge")""")
    shares = {row[0]: float(row[2]) for row in watched.numbers_of("attacks")}
    assert shares["ridge"] > 0.2 > shares["untrained"]


def test_a_finished_run_is_replayed_from_its_beginning(browser: Browser, journey: Journey) -> None:
    with opened(browser, journey.page) as watched:
        watched.page.get_by_role("button", name="replay").click()
        watched.page.locator("#replay select").select_option("5")
        watched.until("""document.getElementById("connection").textContent === "replaying" """)
        watched.until("""document.getElementById("progress").textContent.includes("cell 1 of 2")""")
        assert not watched.page.locator("#cells").get_by_text("INVALID").count()
        watched.page.locator(".item").first.wait_for()
        watched.page.locator("#replay select").select_option("100")
        watched.until("""document.getElementById("progress").textContent.startsWith("finished in")""")
        watched.page.wait_for_timeout(500)
        assert [row[:2] for row in watched.numbers_of("accuracy")] == [
            [cell, str(at)] for cell in CELLS for at in range(1, ROUNDS + 1)
        ]
        assert watched.complaints == []
