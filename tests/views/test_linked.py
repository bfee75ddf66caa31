"""What linking would be worth is said beneath every table, and only where it is known."""

from __future__ import annotations

import csv
import io

from splitfed.views import linked, table
from splitfed.views.csv_table import to_csv
from tests.views.fabricated import cell_result, changed, linked_oracle, run_results

LAPLACE = changed(cell_result("laplace"), linked_oracle=linked_oracle())
OTHER_SEED = changed(cell_result("laplace", seed=1), linked_oracle=linked_oracle(24.4, 23.1))


def test_it_is_said_with_the_number_of_observations_and_beside_the_audit_alone() -> None:
    (said,) = linked.sentences(run_results(cell_result("none"), LAPLACE))
    assert "laplace (scale 0.5): 5.0 observations of an image 23.4 dB / 0.750, re-id 92.0 %" in said
    assert "(of the audit alone 22.1 dB / 0.710, 74.5 %)" in said
    assert "none" not in said.partition("would have")[2]
    assert said in table.to_markdown(run_results(cell_result("none"), LAPLACE))


def test_seeds_are_taken_together() -> None:
    (said,) = linked.sentences(run_results(LAPLACE, OTHER_SEED))
    assert "23.9 dB" in said
    assert "22.6 dB" in said


def test_where_it_is_not_known_nothing_is_said() -> None:
    assert linked.sentences(run_results()) == []
    assert linked.READING not in table.to_markdown(run_results())


def test_a_spreadsheet_has_a_column_for_each() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(run_results(cell_result("none"), LAPLACE)))))
    of_laplace = next(line for line in lines if line["defense"] == "laplace")
    assert (of_laplace["linked_observations"], of_laplace["linked_psnr_db"]) == ("5.0", "23.4")
    assert (of_laplace["linked_ssim"], of_laplace["linked_reid_matched"]) == ("0.75", "0.92")
    assert {line["linked_psnr_db"] for line in lines if line["defense"] == "none"} == {""}
