"""The final table says what the results say, in every form, and an invalid cell cannot be overlooked."""

from __future__ import annotations

import csv
import io
import re

import pytest
from rich.console import Console

from splitfed.records.results import Results
from splitfed.views import csv_table, phases, summary, table
from splitfed.views.text import SYNTHETIC
from tests.views.fabricated import attack_score, broken, cell_result, changed, not_trained, run_results


def draw(results: Results, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table.results_table(results))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits_its_terminal_and_cuts_nothing(width: int) -> None:
    drawn = draw(run_results(), width)
    assert max(map(len, drawn.splitlines())) <= width
    assert "…" not in drawn
    for text in ("sca", "laplace", "0.978", "24.1", "0.740", "86.0 %", "decoder", "class mean", "19.5", "0.545"):
        assert text in drawn


def test_a_wide_terminal_shows_the_intervals_and_a_narrow_one_the_means() -> None:
    assert "28.5 ±0.1" in draw(run_results(), 160)
    assert "±0.1" not in draw(run_results(), 80)


def test_each_column_says_which_direction_is_better_for_the_defender() -> None:
    arrows = {column.title: column.better for column in table.columns(run_results())}
    assert arrows["accuracy"] == "↑"
    assert {arrows[name] for name in ("PSNR dB", "SSIM", "re-id", "excess dB", "bytes cut/wire")} == {"↓"}


@pytest.mark.parametrize("form", [table.to_markdown, table.to_latex, lambda results: draw(results, 80)])
def test_an_invalid_cell_is_named_with_its_gate_in_every_form(form: object) -> None:
    assert callable(form)
    good, bad = form(run_results()), form(run_results(cell_result(), broken(cell_result("sca"))))
    assert "INVALID" not in good
    assert "INVALID" in bad
    assert re.search(r"INVALID sca-seed0: gate attack_learned failed\s+\(training\s+loss\s+rose\)", bad)


@pytest.mark.parametrize("form", [table.to_markdown, table.to_latex, lambda results: draw(results, 80)])
def test_a_cell_that_could_not_be_trained_is_shown_with_its_reason(form: object) -> None:
    assert callable(form)
    shown = form(run_results(cell_result(), not_trained(cell_result("sca"))))
    assert "28.5" in shown
    assert re.search(r"INVALID sca-seed0: gate completed failed\s+\(round\s+1:\s+no\s+client\s+finished", shown)
    assert "INVALID" in form(run_results(not_trained(cell_result()), not_trained(cell_result("sca"))))


def test_csv_has_a_line_for_a_cell_without_scores() -> None:
    results = run_results(cell_result(), not_trained(cell_result("sca")))
    lines = list(csv.DictReader(io.StringIO(csv_table.to_csv(results))))
    (failed,) = (line for line in lines if line["cell"] == "sca-seed0")
    assert (failed["kind"], failed["valid"], failed["failed_gates"]) == ("none", "False", "completed")
    assert failed["accuracy"] == failed["psnr_db"] == ""


def test_synthetic_data_is_announced_in_every_form() -> None:
    results = run_results(synthetic=True)
    assert SYNTHETIC in table.to_markdown(results)
    assert SYNTHETIC in table.to_latex(results)
    assert "SYNTHETIC DATA" in draw(results, 80)
    assert "SYNTHETIC" not in draw(run_results(), 80)
    assert {line["synthetic"] for line in csv.DictReader(io.StringIO(csv_table.to_csv(results)))} == {"True"}


def test_csv_keeps_every_score_of_every_attack() -> None:
    results = run_results(cell_result(psnr_db=28.512345))
    lines = list(csv.DictReader(io.StringIO(csv_table.to_csv(results))))
    assert [(line["kind"], line["attack"]) for line in lines] == [
        ("attack", "ridge"),
        ("attack", "decoder"),
        ("control", "untrained"),
        ("baseline", "mean_image"),
        ("baseline", "class_mean"),
    ]
    decoder = lines[1]
    score = results.cells[0].attacks["decoder"]
    assert float(decoder["psnr_db"]) == score.psnr_db
    assert (float(decoder["ssim_low"]), float(decoder["ssim_high"])) == score.ssim_ci95
    assert decoder["strongest"] == "True"
    assert lines[0]["strongest"] == "False"


def test_seeds_of_a_defense_become_one_row_with_their_spread() -> None:
    cells = [cell_result("sca", seed=seed, psnr_db=20.0 + 2 * seed) for seed in range(3)]
    (row,) = summary.rows(run_results(*cells))
    assert row.seeds == (0, 1, 2)
    half = 4.303 * 2 / 3**0.5  # the standard deviation of 20, 22, 24 is 2, and t is 4.303 at two degrees of freedom
    assert row.psnr_db == pytest.approx((22.0, 22.0 - half, 22.0 + half), abs=1e-3)
    assert "over 3 seeds, by Student's t" in table.to_markdown(run_results(*cells))


def test_one_invalid_seed_makes_the_row_invalid() -> None:
    rows = summary.rows(run_results(cell_result(seed=0), broken(cell_result(seed=1))))
    assert [row.valid for row in rows] == [False]


def test_options_of_one_defense_are_rows_of_their_own() -> None:
    weak = changed(cell_result("sca"), cell="weak", params={"l1_weight": 0.1})
    labels = [row.label for row in summary.rows(run_results(weak, cell_result("sca")))]
    assert labels == ["sca (l1_weight 0.1)", "sca (l1_weight 0.5)"]


def test_the_strongest_attack_speaks_not_the_most_flattering() -> None:
    (row,) = summary.rows(run_results(cell_result(psnr_db=25.0, ssim=0.8)))
    assert row.strongest == "decoder"
    assert row.ssim.mean == 0.8


def test_a_number_that_is_missing_is_a_dash_and_never_averaged_away() -> None:
    cells = [cell_result(seed=0), changed(cell_result(seed=1), accuracy=None)]
    (row,) = summary.rows(run_results(*cells))
    assert row.accuracy.mean is None
    assert "| — |" in table.to_markdown(run_results(*cells))


def test_a_cell_that_nobody_could_observe_has_no_scores() -> None:
    unseen = changed(cell_result(), attacks={}, controls={}, strongest=None)
    (row,) = summary.rows(run_results(unseen))
    assert row.strongest == "—"
    assert row.psnr_db.mean is None
    assert "0.992" in draw(run_results(unseen), 80)


def test_the_control_is_shown_where_it_came_closest() -> None:
    near = changed(cell_result("sca"), controls={"untrained": attack_score(11.0, 0.2)})
    control = summary.plain_rows(run_results(cell_result(), near))[-1]
    assert control == ("untrained attack", 11.0, 0.2)


def with_decoder(**scores: object) -> Results:
    """Results of one cell whose strongest attack has these scores."""
    cell = cell_result()
    decoder = cell.attacks["decoder"].model_copy(update=scores)
    return run_results(changed(cell, attacks={**cell.attacks, "decoder": decoder}))


def test_fid_has_a_column_only_where_it_was_asked_for() -> None:
    asked = with_decoder(fid_lite0=45.57).model_copy(update={"metrics": ("fid_lite0",)})
    assert "| FID lite0 ↑ |" in table.to_markdown(asked)
    assert "45.6" in table.to_markdown(asked)
    assert "features of 6,000 reconstructions" in table.to_markdown(asked)
    assert "FID" not in table.to_markdown(run_results())


def test_too_few_images_for_fid_are_said_instead_of_a_number() -> None:
    shown = table.to_markdown(with_decoder(n=960).model_copy(update={"metrics": ("fid",)}))
    assert "| FID ↑ |" in shown
    assert "of 960 reconstructions and originals: too few, it takes at least 2 × 2,048 = 4,096." in shown


def test_what_must_be_said_of_the_images_stands_under_every_form_of_the_table() -> None:
    results = run_results()
    results = results.model_copy(update={"dataset": results.dataset.model_copy(update={"caveat": "LOSSY images"})})
    for shown in (table.to_markdown(results), table.to_latex(results), " ".join(table.how_to_read(results))):
        assert "LOSSY images." in shown
    assert "LOSSY" not in table.to_markdown(run_results())


def test_scores_over_fewer_images_than_were_sent_are_marked_and_the_mark_is_explained() -> None:
    partly = changed(cell_result("none"), attacks={"decoder": attack_score(28.5, 0.85, n=320, sent=480)})
    wholly = changed(cell_result("sca"), attacks={"decoder": attack_score(28.5, 0.85, n=480, sent=480)})
    results = run_results(partly, wholly)
    assert [row.strongest for row in summary.rows(results)] == ["decoder [320]", "decoder"]
    for shown in (table.to_markdown(results), table.to_latex(results), draw(results, 132)):
        assert "decoder [320]" in shown
        assert "[n]: over n of the images only" in " ".join(shown.split())
    assert "[n]" not in table.to_markdown(run_results(wholly))
    assert {(line["n"], line["sent"]) for line in csv.DictReader(io.StringIO(csv_table.to_csv(results)))} >= {
        ("320", "480")
    }


def test_it_is_said_which_phases_were_attacked() -> None:
    training = attack_score(30.0, 0.9).model_copy(update={"phase": "TRAIN"})
    audit = cell_result()
    both = changed(audit, attacks={**audit.attacks, "ridge@TRAIN4": training})
    by_training = changed(both, strongest="ridge@TRAIN4")
    said = [table.how_to_read(run_results(cell)) for cell in (audit, both, by_training)]
    assert [phases.AUDIT_ALONE in each for each in said] == [True, False, False]
    assert [phases.IN_TRAINING in each for each in said] == [False, False, True]
    assert "| ridge@TRAIN4 |" in table.to_markdown(run_results(by_training))


def test_with_the_frechet_distance_a_narrow_table_cuts_nothing_either() -> None:
    results = with_decoder(fid_lite0=12.3).model_copy(update={"metrics": ("fid_lite0",)})
    drawn = draw(results, 80)
    assert max(map(len, drawn.splitlines())) <= 80
    assert "…" not in drawn
    assert "12.3" in drawn
