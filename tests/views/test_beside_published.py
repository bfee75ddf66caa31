"""The published figures are those of the paper, and stand only beside the rows that they belong to."""

from __future__ import annotations

import pytest

from splitfed.views import beside_published
from splitfed.views.beside_published import published
from tests.views.fabricated import broken, cell_result, changed, not_trained, run_results


def test_both_tables_are_whole() -> None:
    groups = {(p.table, p.threat, p.dataset) for p in published()}
    assert groups == {
        (table, threat, dataset)
        for table, threat in ((2, "end_to_end"), (3, "split"))
        for dataset in ("celeba", "medical_mnist")
    }
    for group in groups:
        rows = [(p.defense, p.l1_weight) for p in published() if (p.table, p.threat, p.dataset) == group]
        assert len(rows) == len(set(rows)) == 13
        assert [s for d, s in rows if d == "sca"] == [0.1, 0.25, 0.5]
    assert all(0 < p.ssim < 1 and 0 < p.accuracy < 1 and 10 < p.psnr_db < 35 and p.fid > 10 for p in published())


@pytest.mark.parametrize(
    ("threat", "dataset", "defense", "l1_weight", "figures"),
    [
        ("end_to_end", "medical_mnist", "none", None, (31.48, 0.935, 10.66, 0.998)),
        ("end_to_end", "celeba", "mid", None, (13.63, 0.0011, 203.2, 0.744)),
        ("split", "medical_mnist", "sca", 0.5, (12.27, 0.001, 285.3, 0.909)),
        ("split", "celeba", "gong++", None, (15.06, 0.038, 190.5, 0.756)),
    ],
)
def test_figures_are_those_of_the_paper(
    threat: str, dataset: str, defense: str, l1_weight: float | None, figures: tuple[float, ...]
) -> None:
    (row,) = (
        p for p in published() if (p.threat, p.dataset, p.defense, p.l1_weight) == (threat, dataset, defense, l1_weight)
    )
    assert (row.psnr_db, row.ssim, row.fid, row.accuracy) == figures


def test_ours_stand_beside_theirs_with_the_reason() -> None:
    shown = beside_published.to_markdown(run_results())
    assert "table 3 of Dibbo" in shown
    assert "| none | 0.992 | 0.993 | 28.5 | 23.5 | 0.850 | 0.776 | what holds for every cell |" in shown
    assert (
        "| sca (l1_weight 0.5) | 0.978 | 0.909 | 24.1 | 12.3 | 0.740 | 0.001 | code: the dictionaries are random"
        in shown
    )
    assert "below the mean image's 12.9 dB" in shown
    assert "decoder is in no optimizer" in shown


def test_an_invalid_cell_stays_invalid_and_other_data_are_compared_with_none() -> None:
    assert "| none INVALID |" in beside_published.to_markdown(run_results(broken(cell_result())))
    assert "| none INVALID | — | 0.993 | — |" in beside_published.to_markdown(run_results(not_trained(cell_result())))
    assert beside_published.to_markdown(run_results(synthetic=True)) == ""
    other = changed(cell_result("sca"), params={"l1_weight": 0.3})
    assert beside_published.compare(run_results(other)) is None


def test_noise_that_acts_in_training_too_is_not_the_papers() -> None:
    ours = [changed(cell_result("none"), defense="gaussian", params=params) for params in ({}, {"always": True})]
    compared = [beside_published.entries(run_results(cell)) for cell in ours]
    assert [len(found) for found in compared] == [1, 0]
