"""The report is one page that holds every fact of the run and asks for nothing from outside."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitfed.errors import UserError
from splitfed.records import events
from splitfed.records.grids import save_cell_grid, save_comparison
from splitfed.records.results import Results
from splitfed.records.store import RunStore
from splitfed.records.strips import save_strip
from splitfed.views import summary
from splitfed.views.report.report import write_report
from splitfed.views.text import SYNTHETIC
from tests.views.fabricated import (
    broken,
    cell_result,
    changed,
    empty_results,
    images,
    manifest,
    not_trained,
    run_events,
    run_results,
)

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects what a test asks about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.outside: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        links = [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.outside += [link for link in links if not link.startswith("data:")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Elements that close themselves, as in SVG."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.create(tmp_path, "medmnist_split", manifest()) as created:
        yield created


def filled(store: RunStore, results: Results | None = None, *, synthetic: bool = False) -> Page:
    """The report of a fabricated run."""
    results = results or run_results(synthetic=synthetic)
    for event in run_events(store.path, synthetic=synthetic):
        store.append_event(event)
    store.save_results(results)
    return Page(write_report(store).read_text())


def test_the_page_holds_the_facts_and_is_well_formed(store: RunStore) -> None:
    shown = filled(store)
    assert shown.open == []
    for fact in (
        "medmnist_split", "6,000 private images", "28×28 gray", "28.5 ±0.1", "0.850 ±0.003", "+9.0", "class mean",
        "Undefended, the strongest attack (decoder) reaches 28.5 dB", "least leaks with laplace (scale 0.5)",
        "27.5 [27.4, 27.6]", "attack_learned: training loss 0.09 to 0.01", '"cpu": "none"',
    ):  # fmt: skip
        assert fact in shown.text
    assert "INVALID" not in shown.text
    assert "SYNTHETIC" not in shown.text


def drawn(store: RunStore) -> dict[str, Any]:
    """What the page carries for its script to draw."""
    raw = store.report_path.read_text()
    (text,) = re.findall(r'<script type="application/json" id="drawn">(.*?)</script>', raw)
    found: dict[str, Any] = json.loads(text)
    return found


def test_nothing_is_asked_from_outside(store: RunStore) -> None:
    save_comparison(store.images_dir / "comparison.png", images(8), {"none": images(8)})
    shown = filled(store)
    raw = store.report_path.read_text()
    assert shown.outside == []
    assert "default-src 'none'; img-src data:;" in raw  # and a browser would not ask
    assert not re.search(r"@import|<script[^>]* src=", raw)


def test_all_four_figures_are_there_with_their_numbers_for_who_has_no_script(store: RunStore) -> None:
    shown = filled(store)
    raw = store.report_path.read_text()
    figures = drawn(store)["figures"]
    assert [figure["kind"] for figure in figures] == ["points", "lines", "lines", "lines"]
    assert re.findall(r'data-figure="(\d)"', raw) == ["0", "1", "2", "3"]
    assert raw.count("<noscript>") == 4
    assert re.search(r"none ★\s*0.85\s*0.992", shown.text.replace("\n", " "))
    assert figures[0]["series"][0]["points"] == [{"x": 0.85, "y": 0.992, "low": 0.847, "high": 0.853}]


def test_grids_are_embedded_in_order_with_alternative_texts_and_strips_are_not(store: RunStore) -> None:
    scores = np.arange(10.0)
    for cell in ("sca-seed0", "none-seed0"):
        path = store.images_dir / f"{cell}.png"
        save_cell_grid(path, images(10), images(10, blur=0.5), scores, cell=cell, attack="decoder")
    save_comparison(store.images_dir / "comparison.png", images(8), {"none": images(8)})
    save_strip(store.images_dir / "strip.png", images(), images())
    (store.images_dir / "damaged.png").write_bytes(b"not a picture")

    alternatives = [str(image["alt"]) for image in filled(store).images]
    assert [text.split(":")[0] for text in alternatives[1:]] == ["none-seed0", "sca-seed0"]
    assert alternatives[0].startswith("The first 8 private images")
    raw = store.report_path.read_text()
    embedded = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", raw)
    assert base64.b64decode(embedded[0]) == (store.images_dir / "comparison.png").read_bytes()


def test_an_invalid_cell_heads_the_page_and_its_gate_is_named(store: RunStore) -> None:
    results = run_results(cell_result("none"), broken(cell_result("sca", ssim=0.1), detail="loss rose"))
    shown = filled(store, results)
    assert "INVALID: at least one cell failed a gate. INVALID sca-seed0: gate attack_learned failed" in shown.text
    assert "FAILED attack_learned: loss rose" in shown.text
    assert "least leaks" not in shown.text  # an invalid cell is no winner
    assert "sca (l1_weight 0.5) INVALID" in shown.text


def test_synthetic_data_heads_the_page(store: RunStore) -> None:
    text = filled(store, synthetic=True).text
    assert SYNTHETIC in text
    assert text.index(SYNTHETIC) < text.index("Results")


def test_an_unfinished_run_says_which_cells_are_missing(store: RunStore) -> None:
    assert (
        "UNFINISHED: no results yet for sca-seed0"
        in filled(store, run_results(cell_result("none"), cell_result("laplace"))).text
    )


def test_notices_reach_the_report(store: RunStore) -> None:
    store.append_event(events.Notice(message="attacker died <at> round 3"))
    assert "warning: attacker died <at> round 3" in filled(store).text


def test_a_run_without_events_still_has_its_table(store: RunStore) -> None:
    store.save_results(run_results())
    shown = Page(write_report(store).read_text())
    assert "28.5 ±0.1" in shown.text
    assert shown.open == []


def test_several_seeds_draw_the_curves_of_the_first(store: RunStore) -> None:
    for seed in (3, 4):
        name = f"none-seed{seed}"
        store.append_event(events.CellStarted(cell=name, defense="none", seed=seed, rounds=1, clients=1))
        store.append_event(events.RoundFinished(cell=name, round=1, rounds=1, loss=1.0, accuracy=0.5))
    store.save_results(run_results(cell_result(seed=3), cell_result(seed=4)))
    text = Page(write_report(store).read_text()).text
    assert "after each round (seed 3 of 2 seeds)" in text


def test_names_cannot_break_the_page(store: RunStore) -> None:
    name = "<script>alert('x')</script>"
    cell = changed(cell_result(), cell=name, defense=name)
    shown = filled(store, run_results(cell))
    assert name not in store.report_path.read_text()
    assert name in shown.text
    assert drawn(store)["figures"][0]["series"][0]["label"].startswith(name)


def test_without_a_finished_cell_there_is_no_report(store: RunStore) -> None:
    with pytest.raises(UserError, match="no cell of this run has finished"):
        write_report(store)
    store.save_results(empty_results())
    with pytest.raises(UserError, match="nothing to report"):
        write_report(store)


def test_the_frontier_holds_what_no_other_valid_row_beats_in_both() -> None:
    cells = [
        cell_result("none", ssim=0.9, accuracy=0.99),
        cell_result("laplace", ssim=0.7, accuracy=0.95),
        cell_result("sca", ssim=0.8, accuracy=0.94),
    ]
    assert [row.defense for row in summary.frontier(run_results(*cells))] == ["none", "laplace"]
    cells[1] = broken(cells[1])
    assert [row.defense for row in summary.frontier(run_results(*cells))] == ["none", "sca"]
    twins = [cell_result("none", ssim=0.7, accuracy=0.9), cell_result("sca", ssim=0.7, accuracy=0.9)]
    assert len(summary.frontier(run_results(*twins))) == 2


def test_several_sparsities_are_drawn_as_a_sweep_and_the_frontier_is_marked(store: RunStore) -> None:
    weak = changed(cell_result("sca", ssim=0.8), params={"l1_weight": 0.1}, cell="weak")
    store.save_results(run_results(cell_result("none"), cell_result("sca", ssim=0.6), weak))
    text = Page(write_report(store).read_text()).text
    assert "over its λ" in text
    assert "sca (l1_weight 0.5) ★" in text
    store.save_results(run_results())
    assert "over its λ" not in Page(write_report(store).read_text()).text


def test_several_seeds_show_how_far_one_could_mislead_and_what_changes_against_none(store: RunStore) -> None:
    store.save_results(run_results(*(cell_result(d, seed=s) for s in (0, 1) for d in ("none", "sca"))))
    text = Page(write_report(store).read_text()).text
    assert "under each seed" in text
    assert "against none, same seed" in text


def test_the_published_figures_stand_in_the_page(store: RunStore) -> None:
    text = filled(store).text
    assert "Beside table 3 of Dibbo" in text
    assert "decoder is in no optimizer" in text


def test_a_cell_that_could_not_be_trained_stands_in_the_report_with_its_reason(store: RunStore) -> None:
    seeds = [
        cell_result(seed=0),
        cell_result("sca", seed=0),
        cell_result(seed=1),
        not_trained(cell_result("sca", seed=1)),
    ]
    shown = filled(store, run_results(*seeds, not_trained(cell_result("laplace"))))
    assert shown.open == []
    assert "FAILED completed: round 1: no client finished; lower the learning rate" in shown.text
    assert "laplace-seed0: INVALID, 1 failed, 2 gates; trained in —, attacked in —" in shown.text


def test_a_report_of_nothing_but_cells_that_could_not_be_trained(store: RunStore) -> None:
    shown = filled(store, run_results(not_trained(cell_result()), not_trained(cell_result("sca"))))
    assert shown.open == []
    assert "INVALID none-seed0: gate completed failed" in shown.text
