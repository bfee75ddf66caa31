"""A lab without images gets the table of a lab that has them all, and no pixel of a client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.errors import UserError
from splitfed.experiment import run as experiment
from splitfed.experiment.deployment import deployment
from splitfed.experiment.feature_analysis import measure as measure_features
from splitfed.federation.shares import shares
from splitfed.records import events
from splitfed.records.results import AttackScore, CellResult
from splitfed.records.store import RunStore
from splitfed.views.report.report import write_report
from splitfed.views.table import to_markdown

# of Flower's own packaging
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

ScenarioOf = Callable[..., Scenario]
TABLES = {"federation": {"clients": 2, "rounds": 1}, "defense": [{"name": "laplace"}]}


class Both(NamedTuple):
    """One scenario, with the truth at the clients and with the truth in the lab."""

    blind: RunStore
    seeing: RunStore
    parties: Path


@pytest.fixture(scope="module")
def both(scenario_of: ScenarioOf, digits: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Both:
    out = tmp_path_factory.mktemp("runs")
    parties = out / "parties"
    scenario = scenario_of(truth="clients", **TABLES)
    with deployment(parties, clients=2, data_root=None, auxiliary=digits.aux) as membership:
        blind = experiment.run(scenario, out=out, runner="deploy", superlink=membership.superlink)
        resumed = experiment.run(scenario, out=out, resume=blind.path, runner="deploy", superlink=membership.superlink)
    assert resumed.results == blind.results
    return Both(blind, experiment.run(scenario_of(**TABLES), out=out), parties)


def only(store: RunStore) -> CellResult:
    (cell,) = store.results.cells
    return cell


def scores(cell: CellResult) -> dict[str, AttackScore]:
    return {**cell.attacks, **cell.controls}


def test_every_attack_and_control_has_the_score_of_a_lab_with_images_up_to_rounding(both: Both) -> None:
    blind, seeing = scores(only(both.blind)), scores(only(both.seeing))
    # clients score reconstructions of the audit alone
    assert {name for name, score in seeing.items() if score.phase == "TRAIN"} == seeing.keys() - blind.keys()
    assert blind.keys() == {"ridge", "untrained", "retrieval"}
    for name, score in blind.items():
        wanted = seeing[name]
        assert (score.n, score.sent) == (wanted.n, wanted.sent)
        assert (score.added_nothing, score.at_cap) == (wanted.added_nothing, wanted.at_cap)
        assert score.psnr_db == pytest.approx(wanted.psnr_db, abs=0.0501)
        assert score.psnr_db_ci95 == pytest.approx(wanted.psnr_db_ci95, abs=0.0501)
        assert score.ssim == pytest.approx(wanted.ssim, abs=0.00501)
        assert score.ssim_ci95 == pytest.approx(wanted.ssim_ci95, abs=0.00501)
        assert score.psnr_excess_db == pytest.approx(wanted.psnr_excess_db, abs=0.1001)
        assert score.by_client.keys() == {"0", "1"}


def test_all_else_of_the_cell_is_what_a_lab_with_images_finds(both: Both) -> None:
    blind, seeing = only(both.blind), only(both.seeing)
    assert blind.valid, blind.gate_details
    # the ideal attacker knows all images of the pool, which nobody here does
    assert blind.gates.keys() == seeing.gates.keys() - {"below_ideal"} | {"scored_by_clients", "same_classes"}
    for key in ("accuracy", "train_accuracy", "majority_rate", "activation_bytes_per_image", "strongest", "figures"):
        assert getattr(blind, key) == getattr(seeing, key), key
    for name, baseline in both.blind.results.baselines.items():
        wanted = both.seeing.results.baselines[name]
        assert baseline.psnr_db == pytest.approx(wanted.psnr_db, abs=0.0501)
        assert baseline.ssim == pytest.approx(wanted.ssim, abs=0.00501)
    told, known = both.blind.results.dataset, both.seeing.results.dataset
    for key in ("name", "synthetic", "shape", "classes", "train", "aux", "test"):
        assert getattr(told, key) == getattr(known, key), key


def test_results_say_where_truth_was_and_among_how_many_images_an_original_was_sought(both: Both) -> None:
    assert both.blind.results.truth == "clients"
    text = to_markdown(both.blind.results)
    assert "truth was with the clients" in text
    assert "re-identification is among each client's own images, N = 240" in text
    assert "truth was with the clients" in write_report(both.blind).read_text(encoding="utf-8")


def test_rounds_and_losses_are_shown_without_pictures(both: Both) -> None:
    shown = [event for event in both.blind.read_events() if isinstance(event, events.AttackProgress)]
    assert {(event.attack, event.final) for event in shown} >= {("ridge", True), ("ridge", False)}
    assert all(event.strip is None for event in shown)
    assert not any(event.final is False and event.psnr_db is not None for event in shown)
    assert both.blind.pictures == []


def test_no_folder_but_a_clients_own_holds_a_pixel_of_it(both: Both, digits: data.Splits) -> None:
    """Looked for are all images, as 32-bit floats and as bytes; and in the lab what the attacker made of them."""
    private = [image for own in shares(only_scenario(both), digits, 0) for image in own.train.pixels]
    wanted = [image.numpy().tobytes() for image in private]
    wanted += [(image * 255).round().to(torch.uint8).numpy().tobytes() for image in private]
    files = [path for folder in (both.blind.path, both.parties) for path in folder.rglob("*") if path.is_file()]
    assert {"results.json", "events.jsonl", "auxiliary.npz"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert not [image for image in wanted if image in content], path
    assert [path.name for path in both.blind.path.rglob("*") if path.suffix in (".npz", ".obs", ".png")] == []


def only_scenario(both: Both) -> Scenario:
    return Scenario.model_validate(both.blind.manifest.scenario)


def test_what_needs_images_of_the_lab_is_refused(both: Both) -> None:
    with pytest.raises(UserError, match="its lab held none"):
        measure_features(both.blind, embed=lambda features, _: features[:, :2])


@pytest.mark.parametrize("runner", ["local", "deploy"])
def test_a_lab_without_images_needs_a_federation_that_has_some(
    scenario_of: ScenarioOf, tmp_path: Path, runner: str
) -> None:
    with pytest.raises(UserError, match="--superlink HOST:PORT"):
        experiment.run(scenario_of(truth="clients"), out=tmp_path, runner=runner)
    assert list(tmp_path.iterdir()) == []
