"""Several seeds taken together: means, deviations and paired differences, from numbers one can check by hand."""

from __future__ import annotations

import pytest
from scipy.stats import t

from splitfed.records import summary as repeats
from splitfed.records.results import CellResult
from splitfed.records.spread import Spread
from splitfed.views import summary, table
from tests.views.fabricated import cell_result, changed, not_trained, run_results


def cells() -> list[CellResult]:
    """A seed that makes both easier moves both: the difference has less spread than either."""
    return [
        cell_result("none", seed=0, psnr_db=28.0, accuracy=0.99),
        cell_result("sca", seed=0, psnr_db=24.0, accuracy=0.97),
        cell_result("none", seed=1, psnr_db=30.0, accuracy=0.98),
        cell_result("sca", seed=1, psnr_db=25.0, accuracy=0.95),
        cell_result("none", seed=2, psnr_db=32.0, accuracy=0.97),
        cell_result("sca", seed=2, psnr_db=29.0, accuracy=0.96),
    ]


def test_mean_and_deviation_over_seeds() -> None:
    none, sca = repeats.summarize(cells())
    assert none.seeds == sca.seeds == (0, 1, 2)
    assert none.over_seeds["psnr_db"] == Spread(mean=30.0, std=2.0, n=3)
    assert sca.over_seeds["accuracy"].mean == pytest.approx(0.96)


def test_a_seed_that_could_not_be_trained_adds_nothing_and_makes_the_defense_invalid() -> None:
    none, sca = repeats.summarize([*cells()[:5], not_trained(cells()[5])])
    assert none.valid
    assert not sca.valid
    assert sca.over_seeds["psnr_db"].n == sca.difference_to_none["psnr_db"].n == 2
    alone, beside = repeats.summarize([not_trained(cell_result()), cell_result("sca")])
    assert alone.over_seeds["accuracy"] == Spread(mean=None, std=None, n=0)
    assert beside.difference_to_none["accuracy"].n == 0


def test_differences_are_paired_by_seed() -> None:
    none, sca = repeats.summarize(list(reversed(cells())))[::-1]
    assert none.difference_to_none == {}
    assert sca.difference_to_none["psnr_db"] == Spread(mean=-4.0, std=1.0, n=3)
    shifted = repeats.summarize([*cells()[:5], cell_result("sca", seed=7)])[1]
    assert shifted.difference_to_none["psnr_db"].n == 2  # seed 7 has no undefended cell


def test_one_seed_has_no_deviation_and_missing_values_are_left_out() -> None:
    _, alone = repeats.summarize(cells()[:2])
    assert alone.over_seeds["ssim"].std is None
    assert repeats.spread([1.0, None, float("nan"), 3.0]) == Spread(mean=2.0, std=2**0.5, n=2)
    assert repeats.spread([None]) == Spread(mean=None, std=None, n=0)
    unseen = changed(cells()[1], strongest=None)
    assert repeats.summarize([cells()[0], unseen])[1].over_seeds["psnr_db"].n == 0


def test_options_keep_defenses_apart_and_a_failed_gate_marks_the_row() -> None:
    weak = changed(cells()[1], params={"l1_weight": 0.1}, valid=False)
    assert [(s.params, s.valid) for s in repeats.summarize([cells()[1], weak])] == [
        ({"l1_weight": 0.5}, True),
        ({"l1_weight": 0.1}, False),
    ]


def test_the_interval_over_seeds_is_students() -> None:
    changed_by = Spread(mean=-4.0, std=1.0, n=3).ci95
    assert changed_by == pytest.approx(t.interval(0.95, 2, loc=-4.0, scale=1.0 / 3**0.5))
    assert Spread(mean=1.0, std=None, n=1).ci95 == (None, None)
    assert Spread(mean=None, std=None, n=0).ci95 == (None, None)


def test_tables_show_differences_where_there_are_several_seeds() -> None:
    several, one = run_results(*cells()), run_results()
    for shown in (table.to_markdown(several), table.to_latex(several)):
        assert "against none, same seed" in shown
        assert "-4.0 " in shown
    whole = table.to_markdown(several)
    assert "| sca (l1_weight 0.5) | -0.020 [-0.045, +0.005] | -4.0 [-6.5, -1.5] |" in whole
    assert "| 3 |" in whole
    assert "same seed" not in table.to_markdown(one) + table.to_latex(one)
    assert summary.differences(one) == []
