"""Scenarios: what is shipped loads, and what does not fit is named with file, key and neighbor."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.config.load import load, validate
from splitfed.config.shipped import describe_shipped, shipped
from splitfed.errors import ScenarioError


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_scenarios_load(name: str) -> None:
    assert load(name).name == name
    assert load(name, quick=True).data.train < load(name).data.train


def test_shipped_scenarios_say_what_they_are() -> None:
    assert all(about for _, about in describe_shipped())


def test_the_main_job_is_what_the_documentation_says() -> None:
    scenario = load("medmnist_split")
    assert [d.name for d in scenario.defense] == ["none", "laplace", "sca"]
    assert scenario.federation.clients == 3
    assert scenario.defense[2].options == {"l1_weight": 0.5}


def test_overrides_reach_tables_components_and_lists() -> None:
    scenario = load(
        "medmnist_split",
        overrides=["data.train=600", "defense.laplace.scale=1.5", 'attack=["ridge"]', "federation.optimizer=adam"],
    )
    assert scenario.data.train == 600
    assert scenario.defense[1].options == {"scale": 1.5}
    assert [a.name for a in scenario.attack] == ["ridge"]
    assert scenario.federation.optimizer == "adam"


def test_cells_are_distinct_for_repeats_and_seeds() -> None:
    scenario = load("medmnist_split", overrides=['defense=["sca", "sca", "none"]', "seeds=2", "seed=7"])
    names = [cell.name for cell in scenario.cells()]
    assert len(set(names)) == len(names) == 6
    assert [cell.seed for cell in scenario.cells()] == [7, 7, 7, 8, 8, 8]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.trian=3", r"--set|medmnist_split\.toml: unknown key data\.trian; did you mean train\?"),
        ("data.train=many", r"data\.train = 'many'"),
        ("data.train=-1", r"data\.train = -1.*greater than or equal to 1"),
        ("data.train=90", r"data\.train \(90\) / federation\.clients \(3\) = 30 .* federation\.batch_size \(32\)"),
        ("data.name=medical_minst", r"unknown data set 'medical_minst'; did you mean 'medical_mnist'\?"),
        ("defense=laplce", r"unknown defense 'laplce'; did you mean 'laplace'\?"),
        ("defense.laplace.scael=1", r"defense 'laplace': unknown key scael; did you mean scale\?"),
        ("defense.laplace.scale=0", r"scale = 0: Input should be greater than 0"),
        ("defense.laplac.scale=1", r"did you mean 'laplace'\?"),
        ("attack=rigde", r"unknown attack 'rigde'; did you mean 'ridge'\?"),
        ("federation.codec=flaot32", r"unknown codec 'flaot32'; did you mean 'float32'\?"),
        ("federation.strategy=FedAgv", r"federation\.strategy = 'FedAgv': .*'FedAvg'"),
        ("data.train", "expected key=value"),
        ("defense.laplace=3", "expected defense.NAME.OPTION=value"),
    ],
)
def test_what_does_not_fit_is_named(override: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        load("medmnist_split", overrides=[override])


@pytest.mark.parametrize("defense", ['["dpsgd"]', '["none", "dpsgd"]'])
def test_a_codec_that_mixes_samples_is_refused_where_each_counts(defense: str) -> None:
    with pytest.raises(ScenarioError, match=r"codec 'int8' mixes the samples of a batch, and defense 'dpsgd'"):
        load("medmnist_split", overrides=[f"defense={defense}", "federation.codec=int8"])
    assert load("medmnist_split", overrides=[f"defense={defense}", "federation.codec=bfloat16"])
    assert load("medmnist_split", overrides=['defense=["none", "sca"]', "federation.codec=int8"])


@pytest.mark.parametrize(
    ("codec", "width", "batch", "most"),
    [("float32", 4096, 4096, 4095), ("sparse", 4096, 4096, 3971), ("int8", 4096, 4096, 4095)],
)
def test_batches_that_no_frame_holds_are_refused_with_the_numbers_and_the_way_out(
    codec: str, width: int, batch: int, most: int
) -> None:
    def override(batch: int) -> list[str]:
        federation = [f"federation.codec={codec}", f"federation.batch_size={batch}", "federation.clients=1"]
        return ['defense=["none"]', f"model.width={width}", *federation]

    says = (
        rf"federation\.batch_size \({batch}\) images of 4,096 numbers each, as defense 'none' releases them, .* codec "
        rf"'{codec}'; a frame holds 67,108,864: use a federation\.batch_size of at most {most}, or a "
        r"smaller model\.width"
    )
    with pytest.raises(ScenarioError, match=says):
        load("medmnist_split", overrides=override(batch))
    assert load("medmnist_split", overrides=override(most)).federation.batch_size == most


def test_a_width_that_no_frame_holds_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r": use a smaller model\.width$"):
        load("medmnist_split", overrides=["model.width=16000000", 'defense=["none"]'])


def test_a_stack_is_refused_for_its_layers() -> None:
    table = {
        "name": "stacked",
        "data": {"name": "digits", "train": 600, "aux": 100, "test": 60},
        "federation": {"codec": "int8", "batch_size": 8},
        "defense": [{"name": "stack", "layers": [{"name": "dpsgd"}, {"name": "gaussian"}]}],
        "attack": [{"name": "ridge"}],
    }
    with pytest.raises(ScenarioError, match=r"defense 'dpsgd\+gaussian' promises something of each sample"):
        validate(table, source="stacked.toml")


def test_an_unknown_scenario_names_its_neighbor() -> None:
    with pytest.raises(ScenarioError, match=r"'medmnist_splt'; did you mean 'medmnist_split'\?"):
        load("medmnist_splt")


def test_a_missing_file_lists_what_is_shipped(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no such scenario file.*medmnist_split"):
        load(tmp_path / "none.toml")


def test_what_is_not_toml_is_said_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("name = \nabout = 1")
    with pytest.raises(ScenarioError, match=r"broken\.toml is not valid TOML: .*line 1, column 8"):
        load(file)


def test_missing_keys_are_named(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text('name = "short"')
    with pytest.raises(ScenarioError, match=r"short\.toml: data is missing"):
        load(file)


def test_quick_needs_a_table(tmp_path: Path) -> None:
    file = tmp_path / "slow.toml"
    file.write_text('name = "slow"')
    with pytest.raises(ScenarioError, match=r"no \[quick\] table"):
        load(file, quick=True)


PAPERS = ("none", "gaussian", "gan", "gong", "gong++", "laplace", "bido", "dpsgd", "mid", "sparse_standard", "sca")


@pytest.mark.parametrize(
    ("name", "threat", "dataset"),
    [
        ("table2", "end_to_end", "medical_mnist"),
        ("table2_celeba", "end_to_end", "celeba"),
        ("table3", "split", "medical_mnist"),
        ("table3_celeba", "split", "celeba"),
    ],
)
def test_the_tables_of_the_paper_have_all_its_defenses(name: str, threat: str, dataset: str) -> None:
    scenario = load(name)
    assert (scenario.threat, scenario.data.name) == (threat, dataset)
    assert tuple(dict.fromkeys(d.name for d in scenario.defense)) == PAPERS
    assert [d.options["l1_weight"] for d in scenario.defense if d.name == "sca"] == [0.1, 0.25, 0.5]
    assert len(scenario.cells()) == 14
    assert [d.name for d in load(name, quick=True).defense][:2] == ["none", "laplace"]


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_scenarios_follow_their_threat_and_have_an_undefended_cell(name: str) -> None:
    scenario = load(name)
    assert (scenario.client_layers > 0) == (scenario.threat == "end_to_end")
    assert name.endswith(scenario.threat) or name.startswith("table")
    assert any(d.name == "none" for d in scenario.defense)
    assert scenario.attacker.margin_db >= 2
