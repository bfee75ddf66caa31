"""Grids show the images that the rule names, at their places, and say which these are."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitfed.records import grids as grid
from splitfed.records.grids import GridRow, pick, read_caption, save_cell_grid, save_comparison, save_grid
from splitfed.records.strips import Pixels
from tests.views.fabricated import images


def flat(*levels: float, channels: int = 1) -> Pixels:
    """One image of a single brightness per level."""
    return np.array(levels, dtype=np.float32)[:, None, None, None] * np.ones((1, channels, 28, 28), np.float32)


def bright_blocks(path: Path, level: int) -> int:
    """How many 84 by 84 blocks of exactly this gray the picture holds."""
    with Image.open(path) as picture:
        canvas = np.asarray(picture.convert("RGB"))
    return int((canvas == level).all(axis=-1).sum()) // 84**2


def test_the_picks_follow_the_rule_and_the_example() -> None:
    assert doctest.testmod(grid).failed == 0
    picks = pick(np.array([3.0, 1.0, 2.0]), first=6)
    assert [p.position for p in picks] == [0, 1, 2, 1, 2, 0]


def test_the_picks_do_not_depend_on_how_good_the_first_images_are() -> None:
    scores = np.random.default_rng(0).normal(20, 3, 100)
    assert [p.position for p in pick(scores)][:6] == list(range(6))
    assert [p.position for p in pick(scores)][6:] == [scores.argmin(), np.argsort(scores)[49], scores.argmax()]


def test_each_image_stands_in_the_grid_once_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    save_grid(path, ["a", "b"], [GridRow("x", flat(0.2, 0.4)), GridRow("y", flat(0.6, 0.8))], caption="four grays")
    for level in (51, 102, 153, 204):
        assert bright_blocks(path, level) == 1
    assert read_caption(path) == "four grays"


def test_a_cells_grid_says_which_images_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "images" / "none.png"
    save_cell_grid(path, images(10), images(10, blur=0.5), np.arange(10.0), cell="none-seed0", attack="decoder")
    caption = read_caption(path)
    for fact in ("none-seed0", "decoder", "first 6 by index", "lowest, median and highest PSNR among 10"):
        assert fact in caption


def test_a_comparison_has_a_row_per_defense(tmp_path: Path) -> None:
    path = tmp_path / "comparison.png"
    grays = {"none": flat(*[0.4] * 9, channels=3), "sca": flat(*[0.6] * 9, channels=3)}
    save_comparison(path, flat(*[0.2] * 9, channels=3), grays, first=3)
    assert [bright_blocks(path, level) for level in (51, 102, 153)] == [3, 3, 3]


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 'y': want \(2, 1, 28, 28\), got \(1, 1, 28, 28\)"):
        save_grid(tmp_path / "g.png", ["a", "b"], [GridRow("x", flat(0, 1)), GridRow("y", flat(0))], caption="")
