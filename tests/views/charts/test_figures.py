"""Figures hold the numbers of the run, finite and few enough to draw."""

from __future__ import annotations

import json
import math
from pathlib import Path

from splitfed.records import events
from splitfed.views.charts import figures
from splitfed.views.charts.figures import MOST_POINTS, Figure, of_results, of_run
from splitfed.views.progress import RunState
from tests.views.fabricated import broken, cell_result, changed, run_events, run_results


def titled(found: list[Figure], part: str) -> Figure:
    (figure,) = (one for one in found if part in one.title)
    return figure


def seen(run_dir: Path) -> RunState:
    run = RunState()
    for event in run_events(run_dir):
        run.apply(event)
    return run


def test_each_defense_is_a_point_with_its_interval() -> None:
    figure = titled(of_results(run_results()), "Accuracy against")
    assert [one.label for one in figure.series] == ["none ★", "laplace (scale 0.5) ★", "sca (l1_weight 0.5)"]
    (point,) = figure.series[0].points
    assert (point.x, point.y) == (0.85, 0.992)
    assert point.low is not None
    assert point.high is not None
    assert point.low < point.x < point.high
    assert [rule.value for rule in figure.rules] == [0.253, 0.545]
    assert [mark.x for mark in figure.frontier] == [0.85, 0.69]


def test_a_point_that_does_not_count_says_so() -> None:
    figure = titled(of_results(run_results(cell_result(), broken(cell_result("sca", ssim=0.1)))), "Accuracy against")
    assert [(one.label, one.counts) for one in figure.series][1] == ("sca (l1_weight 0.5) INVALID", False)
    assert [mark.x for mark in figure.frontier] == [0.85]


def test_curves_end_where_the_run_did(tmp_path: Path) -> None:
    found = of_run(run_results(), seen(tmp_path))
    psnr, accuracy = titled(found, "PSNR"), titled(found, "Test accuracy")
    assert [one.points[-1].y for one in psnr.series] == [28.5, 22.4, 24.1]
    assert [rule.value for rule in psnr.rules] == [12.9, 19.5]
    assert [mark.x for mark in accuracy.series[0].points] == [1, 2, 3, 4, 5]
    assert psnr.numbers[0][0] == "none-seed0"
    json.dumps([figure.to_json() for figure in found], allow_nan=False)


def report(attack: str, at_s: float, ssim: float, *, final: bool = False) -> events.AttackProgress:
    return events.AttackProgress(
        time_s=at_s, cell="a", attack=attack, round=3, epoch=1, train_loss=0.1, ssim=ssim, psnr_db=20.0, final=final
    )


def test_the_leak_over_the_attackers_time_is_the_best_so_far_since_training_was_over() -> None:
    run = RunState()
    run.apply(events.CellStarted(time_s=100.0, cell="a", defense="none", seed=0, rounds=1, clients=1))
    run.apply(report("ridge", 105.0, 0.9))  # on a front of training
    run.apply(events.RoundFinished(time_s=110.0, cell="a", round=1, rounds=1, loss=1.0, accuracy=0.5))
    for each in (report("ridge", 112.0, 0.5), report("decoder", 120.0, 0.4), report("decoder", 130.0, 0.6)):
        run.apply(each)
    run.apply(report("decoder", 131.0, 0.7, final=True))  # over other images
    figure = titled(of_run(run_results(), run), "Best SSIM so far")
    (curve,) = figure.series
    assert [(mark.x, mark.y) for mark in curve.points] == [(2.0, 0.5), (10.0, 0.5), (20.0, 0.6)]
    assert [rule.value for rule in figure.rules] == [0.253, 0.545]


def test_what_is_not_finite_is_left_out() -> None:
    run = RunState()
    run.apply(events.CellStarted(cell="a", defense="none", seed=0, rounds=2, clients=1))
    run.apply(events.RoundFinished(cell="a", round=1, rounds=2, loss=1.0, accuracy=math.nan))
    assert not [figure for figure in of_run(run_results(), run) if "Test accuracy" in figure.title]
    run.apply(events.RoundFinished(cell="a", round=2, rounds=2, loss=1.0, accuracy=0.5))
    (curve,) = titled(of_run(run_results(), run), "Test accuracy").series
    assert [(mark.x, mark.y) for mark in curve.points] == [(2, 0.5)]


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    marks = [figures.Mark(float(place), 1.0) for place in range(3 * MOST_POINTS + 7)]
    (curve,) = figures._series([("a", marks, True)])
    assert len(curve.points) <= MOST_POINTS
    assert curve.points[-1] == marks[-1]
    steps = {after.x - before.x for before, after in zip(curve.points, curve.points[1:], strict=False)}
    assert len(steps) == 1


def test_several_sparsities_are_a_sweep_and_several_seeds_a_curve_each() -> None:
    weak = changed(cell_result("sca", ssim=0.8), params={"l1_weight": 0.1}, cell="weak")
    sweep = titled(of_results(run_results(cell_result(), cell_result("sca", ssim=0.6), weak)), "over its λ")
    assert [mark.x for mark in sweep.series[0].points] == [0.1, 0.5]
    seeds = run_results(*(cell_result(name, seed=seed) for seed in (3, 4) for name in ("none", "sca")))
    assert [mark.x for mark in titled(of_results(seeds), "each seed").series[0].points] == [3, 4]
    assert not [figure for figure in of_results(run_results()) if "λ" in figure.title or "seed" in figure.title]
