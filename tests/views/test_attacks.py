"""All attacks side by side: means over seeds, the strongest marked, nothing where an attack was not mounted."""

from __future__ import annotations

from splitfed.records.results import CellResult
from splitfed.views import attacks, table
from tests.views.fabricated import attack_score, broken, cell_result, changed, not_trained, run_results


def test_scores_are_means_over_seeds_and_the_strongest_is_marked() -> None:
    results = run_results(
        cell_result("none", seed=0, psnr_db=28.0, ssim=0.80), cell_result("none", seed=1, psnr_db=29.0, ssim=0.90)
    )
    assert attacks.rows(results, marks=("<", ">")) == [["none", "27.5 / 0.800", "<28.5 / 0.850>"]]


def test_an_attack_of_some_defenses_only_has_no_entry_elsewhere() -> None:
    dense = cell_result("sca", psnr_db=22.0, ssim=0.70)
    attacked = {**dense.attacks, "dictionary": attack_score(23.0, 0.74)}
    sparse = changed(dense, attacks=attacked, strongest="dictionary")
    results = run_results(cell_result("none"), sparse)
    assert attacks.names(results) == ["ridge", "decoder", "dictionary"]
    assert attacks.rows(results, marks=("", "*")) == [
        ["none", "27.5 / 0.800", "28.5 / 0.850*", "—"],
        ["sca (l1_weight 0.5)", "21.0 / 0.650", "22.0 / 0.700", "23.0 / 0.740*"],
    ]


def test_a_cell_that_could_not_be_trained_has_no_entries() -> None:
    results = run_results(cell_result(), not_trained(cell_result("sca")))
    assert attacks.rows(results, marks=("", ""))[1] == ["sca (l1_weight 0.5) INVALID", "—", "—"]
    of_one_seed = run_results(cell_result(), not_trained(cell_result(seed=1)))
    assert attacks.rows(of_one_seed, marks=("", ""))[0] == ["none INVALID", "27.5 / 0.800", "28.5 / 0.850"]
    assert attacks.names(run_results(not_trained(cell_result()))) == []
    assert "| none INVALID |" in attacks.to_markdown(run_results(not_trained(cell_result())))


def test_an_attack_that_a_limit_ended_says_so() -> None:
    cell = cell_result()
    capped = cell.attacks["decoder"].model_copy(update={"at_cap": True})
    results = run_results(changed(cell, attacks={**cell.attacks, "decoder": capped}))
    assert attacks.rows(results, marks=("<", ">")) == [["none", "27.5 / 0.800", "<28.5 / 0.850 at cap>"]]


def test_no_majority_no_mark() -> None:
    other = changed(cell_result("none", seed=1), strongest="ridge")
    rows = attacks.rows(run_results(cell_result(), other), marks=("", "*"))
    assert rows == [["none", "27.5 / 0.800", "28.5 / 0.850"]]


def test_markdown_is_a_table_and_says_what_is_invalid() -> None:
    lines = attacks.to_markdown(run_results(broken(cell_result()))).splitlines()
    assert lines[0] == f"## {attacks.TITLE}"
    assert lines[2] == "| defense | ridge | decoder |"
    assert lines[4] == "| none INVALID | 27.5 / 0.800 | **28.5 / 0.850** |"


def scored_on(images: int, *names: str) -> CellResult:
    """A cell on which these attacks were scored on so many of 6,000 images."""
    cell = cell_result()
    scores = {name: score.model_copy(update={"n": images}) for name, score in cell.attacks.items() if name in names}
    return changed(cell, attacks={**cell.attacks, **scores})


def test_an_attack_on_fewer_images_says_of_how_many() -> None:
    expensive = scored_on(512, "ridge")
    assert attacks.rows(run_results(expensive), marks=("", "*")) == [["none", "27.5 / 0.800 [512]", "28.5 / 0.850*"]]


def test_attacks_that_all_saw_less_than_was_sent_say_so() -> None:
    partly = scored_on(320, "ridge", "decoder")
    assert attacks.rows(run_results(partly), marks=("", "*")) == [["none", "27.5 / 0.800 [320]", "28.5 / 0.850 [320]*"]]


def test_the_control_that_looks_up_stands_beside_the_attacks() -> None:
    looked_up = changed(
        cell_result(), controls={"untrained": attack_score(8.0, 0.1), "retrieval": attack_score(20.0, 0.6)}
    )
    results = run_results(looked_up, cell_result("sca"))
    assert attacks.names(results) == ["ridge", "decoder", "retrieval"]
    assert [row[-1] for row in attacks.rows(results, marks=("", "*"))] == ["20.0 / 0.600", "—"]


def test_an_attack_that_ended_at_its_cap_says_so_in_both_tables() -> None:
    cell = cell_result()
    capped = {**cell.attacks, "decoder": cell.attacks["decoder"].model_copy(update={"at_cap": True})}
    results = run_results(changed(cell, attacks=capped))
    assert attacks.rows(results, marks=("", "*")) == [["none", "27.5 / 0.800", "28.5 / 0.850 at cap*"]]
    assert "| decoder at cap |" in table.to_markdown(results)
    assert table.AT_CAP in table.how_to_read(results)
    assert table.AT_CAP not in table.how_to_read(run_results())
