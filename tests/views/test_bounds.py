"""What nobody can exceed stands beside what was reached, in every form, and is left out where nothing is known."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from splitfed.views import bounds, csv_table, table
from tests.views.fabricated import cell_result, changed, ideal_score, run_results


def test_each_row_is_an_interval() -> None:
    none, laplace, sca = bounds.rows(run_results())
    assert none == ["none", "none", "86.0 % / 100.0 %", "28.5 / exact", "9.97 ≤ —", "100.0 %"]
    assert laplace[:2] == ["laplace (scale 0.5)", "laplace"]
    assert laplace[2:] == ["86.0 % / 88.0 %", "22.4 / 30.0", "9.70 ≤ 61.2", "97.0 %"]
    assert sca == ["sca (l1_weight 0.5)", *["—"] * 5]  # of no known law


def test_of_several_seeds_it_is_the_mean() -> None:
    seeds = [
        changed(
            cell_result("laplace", seed=seed),
            ideal=ideal_score("laplace").model_copy(update={"top1": 0.88 + seed / 100}),
        )
        for seed in (0, 2)
    ]
    (row,) = bounds.rows(run_results(*seeds))
    assert row[2].endswith("/ 89.0 %")


@pytest.mark.parametrize("form", [table.to_latex, bounds.to_markdown])
def test_it_is_shown_where_something_is_known(form: object) -> None:
    assert callable(form)
    assert "9.70" in form(run_results())
    assert "9.70" not in form(run_results(changed(cell_result(), ideal=None)))


def test_a_wide_table_has_the_rate_beside_ours_and_says_what_it_is() -> None:
    drawn = {width: drawn_at(width) for width in (80, 160)}
    assert "86.0 % / 88.0 %" in drawn[160]
    assert bounds.TITLE in drawn[160]
    assert "/ 88.0" not in drawn[80]
    assert "86.0 % / 88.0 %" in table.to_markdown(run_results())
    assert table.IDEAL in table.how_to_read(run_results())
    assert table.IDEAL not in table.how_to_read(run_results(changed(cell_result(), ideal=None)))


def drawn_at(width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table.results_table(run_results()))
    return console.export_text()


def test_csv_has_every_figure_of_it() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_table.to_csv(run_results()))))
    noisy = next(line for line in lines if line["defense"] == "laplace")
    assert (noisy["ideal_reid"], noisy["ideal_mse"], noisy["information_bound_bits"]) == ("0.88", "0.001", "61.2")
    assert float(noisy["ideal_psnr_db"]) == pytest.approx(30.0)
    assert float(noisy["pool_mse"]) == pytest.approx(10 ** (-noisy_psnr(noisy) / 10))
    assert next(line for line in lines if line["defense"] == "sca")["ideal_reid"] == ""


def noisy_psnr(line: dict[str, str]) -> float:
    return float(line["psnr_db"])
