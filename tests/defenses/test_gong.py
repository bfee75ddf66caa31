"""The defenses of Gong et al.: two kinds of images, the adjusted loss, and the consolidation of gong++."""

from __future__ import annotations

import pytest
import torch

from splitfed import data
from splitfed.config.load import load, validate
from splitfed.defenses import build
from splitfed.defenses.base import TrainingBatch
from splitfed.defenses.gong import PAIRS_PER_CLASS, DecoyPairs, Gong, inversion_acts, misleading_loss, term_acts
from splitfed.defenses.gong_plus import GongPlus
from splitfed.files import file_name
from splitfed.models.front import Front, FrontSpec
from splitfed.seeding import generator
from splitfed.types import Images
from tests.conftest import ScenarioOf

QUICK = {"epochs": 4, "inversion_steps": 10}


def prepared(name: str, own: Images, **options: object) -> tuple[Gong, Images, TrainingBatch]:
    """A defense that generated its images, and a first step of training on both kinds."""
    defense = build(name, {**QUICK, **options})
    assert isinstance(defense, Gong)
    made = defense.generate(own, generator(0, "generate"))
    front = defense.build_front(FrontSpec(own.shape, 24), generator(0, "front"))
    pixels, labels = torch.cat([own.pixels, made.pixels])[:64], torch.cat([own.labels, made.labels])[:64]
    output, hidden = front.trace(front.stem(pixels))
    return defense, made, TrainingBatch(pixels, labels, output, hidden, front)


@pytest.fixture(scope="module")
def own(digits: data.Splits) -> Images:
    return digits.train[:96]


def test_decoys_look_like_another_class_than_their_label(own: Images) -> None:
    defense, made, _ = prepared("gong", own, epochs=15, inversion_steps=1)
    means = torch.stack([own.pixels[own.labels == label].mean(dim=0).flatten() for label in range(10)])
    looks_like = torch.cdist(made.pixels.flatten(1), means).argmin(dim=1)
    # the nearest class mean recognizes what the generator was told to draw, which is never the label
    assert float((looks_like == made.labels).float().mean()) < 0.2
    assert defense.measures()["gan_recognized"] > 0.5


def test_the_search_makes_the_classifier_take_them_for_their_label(own: Images) -> None:
    defense, _, _ = prepared("gong", own, epochs=15, inversion_steps=40)
    measures = defense.measures()
    assert measures["decoys_accepted"] > measures["random_accepted"] + 0.2
    assert measures["inversed_accepted"] > 0.7
    assert inversion_acts([measures]).acts


def test_an_inversion_that_found_nothing_fails() -> None:
    assert not inversion_acts([{"decoys_accepted": 0.1, "random_accepted": 0.1}]).acts
    assert not inversion_acts([]).acts


def test_pairs_are_of_the_labels_that_were_asked_for() -> None:
    classes = torch.tensor([2, 5])
    rows = torch.arange(2 * PAIRS_PER_CLASS)
    pairs = DecoyPairs(classes, rows, -rows)
    labels = torch.tensor([5, 2, 5, 5])
    inversed, decoys = pairs.of(labels)
    assert torch.equal(pairs.labels[inversed], labels)
    assert torch.equal(decoys, -inversed)
    assert len(set(inversed.tolist())) == 4


def test_the_adjusted_loss_is_about_directions() -> None:
    inversed = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    decoys = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    same = torch.nn.Identity()
    assert float(misleading_loss(same, inversed, decoys)) == pytest.approx(0.5)
    assert float(misleading_loss(same, 9 * inversed, decoys)) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["gong", "gong++"])
def test_training_on_the_terms_lowers_them(name: str, own: Images) -> None:
    defense, _, batch = prepared(name, own)
    optimizer = torch.optim.SGD(batch.front.body.parameters(), lr=0.05)
    losses = []
    for _ in range(15):
        term = defense.regularizer(batch)
        assert term is not None
        optimizer.zero_grad()
        term.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(term.detach()))
    assert losses[-1] < losses[0]


def test_before_its_images_exist_there_is_no_term(own: Images) -> None:
    _, _, batch = prepared("gong", own)
    assert build("gong", {}).regularizer(batch) is None
    assert build("gong++", {}).regularizer(batch) is None


def test_each_round_is_measured_anew(own: Images) -> None:
    defense, _, batch = prepared("gong++", own)
    one, other = defense.begin_round(1), defense.begin_round(2)
    assert not term_acts("misleading", [one.measures()]).acts
    one.regularizer(batch)
    measures = one.measures()
    assert term_acts("misleading", [measures]).acts
    assert term_acts("consolidation", [measures]).acts
    assert one.measures() == measures
    assert not term_acts("consolidation", [other.measures()]).acts
    assert other.measures()["gan_generated"] == len(own)


def test_each_round_has_an_anchor_of_its_own(own: Images) -> None:
    defense, _, batch = prepared("gong++", own)
    one = defense.begin_round(1)
    first, again = term_of(one, batch), term_of(one, batch)
    assert first == again
    moved(batch.front)
    within = term_of(one, batch)
    after = term_of(defense.begin_round(2), batch)
    # held to the old place the front is pulled much harder than from where the round finds it
    assert within > after


def term_of(defense: Gong, batch: TrainingBatch) -> float:
    term = defense.regularizer(batch)
    assert term is not None
    return float(term.detach())


@torch.no_grad()
def moved(front: Front) -> None:
    for parameter in front.body.parameters():
        parameter.add_(0.5)


def test_a_client_with_images_of_one_class(digits: data.Splits) -> None:
    own = digits.train[digits.train.labels == 6]
    defense, made, batch = prepared("gong++", own)
    assert set(made.labels.tolist()) == {6}
    assert term_of(defense, batch) > 0


def test_the_name_with_plus_signs_works_where_names_do(scenario_of: ScenarioOf) -> None:
    assert isinstance(build("gong++", {}), GongPlus)
    scenario = scenario_of(defense=[{"name": "gong"}, {"name": "gong++", "epochs": 3}])
    cells = scenario.cells()
    assert [cell.name for cell in cells] == ["gong", "gong++"]
    assert [file_name(cell.name) for cell in cells] == ["gong", "gong++"]
    assert validate(scenario.model_dump(), source="again") == scenario
    chosen = load("medmnist_split", overrides=['defense=["gong++"]', "defense.gong++.epochs=3"])
    assert [(defense.name, defense.options) for defense in chosen.defense] == [("gong++", {"epochs": 3})]
