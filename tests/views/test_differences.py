"""What a defense changes against none stands with its interval: over seeds where there are several, or over images."""

from __future__ import annotations

from splitfed.views import differences, table
from tests.views.fabricated import cell_result, changed, run_results


def test_under_one_seed_it_is_over_the_same_images() -> None:
    found = differences.table(run_results())
    assert found is not None
    header, rows = found
    assert header == ["against none, same images", "PSNR dB", "SSIM", "images"]
    assert rows[0] == ["laplace (scale 0.5)", "-6.1 [-6.3, -5.9]", "-0.160 [-0.170, -0.150]", "6,000"]
    assert differences.statements(run_results())[0] == (
        "laplace (scale 0.5) against none: PSNR dB -6.1 [-6.3, -5.9], SSIM -0.160 [-0.170, -0.150] (6,000 images)."
    )
    for text in (table.to_markdown(run_results()), table.to_latex(run_results())):
        assert "-6.1 [-6.3, -5.9]" in text
        assert differences.IMAGES in text


def test_under_several_it_is_over_seeds() -> None:
    cells = [
        cell_result(name, seed=seed, psnr_db=level + seed * slope)
        for seed in (0, 1, 2)
        for name, level, slope in (("none", 28.0, 1.0), ("sca", 24.0, 0.5))
    ]
    results = run_results(*cells)
    found = differences.table(results)
    assert found is not None
    assert found[0][0] == "against none, same seed"
    assert found[1][0][2] == "-4.5 [-5.7, -3.3]"  # -4, -4.5, -5 and t 4.303
    assert "over 3 seeds" in differences.reading(results)[0]
    assert differences.IMAGES not in table.how_to_read(results)


def test_without_an_undefended_cell_there_is_nothing_to_say() -> None:
    alone = run_results(changed(cell_result("sca"), against_none={}))
    assert differences.table(alone) is None
    assert differences.statements(alone) == differences.reading(alone) == []
