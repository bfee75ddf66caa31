"""What is said of keys that do not fit: those of earlier versions are refused with what they are called today."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.config.load import data_options, load, validate
from splitfed.errors import ScenarioError
from splitfed.options import RENAMED

TABLES = (
    ("federation.batch", 32, "federation.batch was renamed: write federation.batch_size"),
    ("federation.optimiser", "sgd", "federation.optimiser was renamed: write federation.optimizer"),
    ("data.size", 28, "data.size was renamed: write data.image_size"),
)
COMPONENTS = (
    ("defense", "sca", "sparsity", 0.5, "l1_weight"),
    ("defense", "sca", "first_batch", 32, "first_batch_size"),
    ("attack", "decoder", "batch", 64, "batch_size"),
    ("attack", "decoder", "augmented_copies_dear", 1, "augmented_copies_expensive"),
    ("attack", "whitebox", "batch", 64, "batch_size"),
)


def table(*, defense: object = None, attack: object = None) -> dict[str, object]:
    """A small scenario."""
    return {
        "name": "old",
        "data": {"name": "digits", "train": 480, "aux": 600, "test": 240},
        "federation": {"rounds": 1},
        "defense": [defense or {"name": "sca"}],
        "attack": [attack or {"name": "ridge"}],
    }


def refused(written: dict[str, object]) -> str:
    with pytest.raises(ScenarioError) as refusal:
        validate(written, source="old.toml")
    return str(refusal.value)


def test_every_old_key_is_tried_here() -> None:
    tried = {key.rpartition(".")[2] for key, _, _ in TABLES} | {option for _, _, option, _, _ in COMPONENTS}
    assert tried == set(RENAMED)


@pytest.mark.parametrize(("key", "value", "says"), TABLES)
def test_an_old_key_of_a_table_is_refused_with_the_new_one(key: str, value: object, says: str) -> None:
    name, _, option = key.partition(".")
    written = table()
    entries = written[name]
    assert isinstance(entries, dict)
    entries[option] = value
    assert refused(written) == f"old.toml: {says}"
    with pytest.raises(ScenarioError, match=rf"medmnist_split\.toml: {says}$"):
        load("medmnist_split", overrides=[f"{key}={value}"])


@pytest.mark.parametrize(("kind", "name", "old", "value", "new"), COMPONENTS)
def test_an_old_option_of_a_component_is_refused_with_the_new_one(
    kind: str, name: str, old: str, value: object, new: str
) -> None:
    says = f"{kind} '{name}': {old} was renamed: write {new}"
    entry = {"name": name, old: value}
    written = table(defense=entry) if kind == "defense" else table(attack=entry)
    assert refused(written) == f"old.toml: {says}"
    with pytest.raises(ScenarioError, match=rf"medmnist_split\.toml: {says}$"):
        load("medmnist_split", overrides=[f'{kind}=["{name}"]', f"{kind}.{name}.{old}={value}"])


@pytest.mark.parametrize(("old", "new"), [(old, new) for _, name, old, _, new in COMPONENTS if name == "sca"])
def test_an_old_option_of_a_layer_is_refused_with_the_new_one(old: str, new: str) -> None:
    layers = [{"name": "sca", old: 1}, {"name": "laplace"}]
    said = refused(table(defense={"name": "stack", "layers": layers}))
    assert said.startswith("old.toml: defense 'stack': ")
    assert said.endswith(f"layer 'sca': {old} was renamed: write {new}")


def test_an_old_key_among_the_quick_settings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_text(
        'name = "old"\ndata = { name = "digits", train = 480, aux = 600, test = 240 }\n'
        'defense = [{ name = "none" }]\nattack = [{ name = "ridge" }]\n[quick]\n"federation.batch" = 8\n',
        encoding="utf-8",
    )
    assert load(file).federation.batch_size == 64
    with pytest.raises(ScenarioError, match=r"federation\.batch was renamed: write federation\.batch_size$"):
        load(file, quick=True)


def test_the_data_table_by_itself_says_so_too() -> None:
    with pytest.raises(ScenarioError, match=r"^--set: data.size was renamed: write data.image_size$"):
        data_options("folder", ["data.size=64"])


def test_where_the_new_name_is_no_key_either_the_old_one_is_unknown() -> None:
    assert refused({**table(), "model": {"batch": 3}}).startswith("old.toml: unknown key model.batch; ")
