"""The attack as a whole: it learns by every access, keeps to its budget, and leaves the victim as it was."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from splitfed.errors import AttackError, UserError
from splitfed.generators import build
from splitfed.inversion import ClassInversion, InversionMoment, PlugAndPlayOptions, invert
from splitfed.inversion.oracle import Access, BudgetExhausted, Classifier
from splitfed.metrics import fingerprint
from tests.inversion.worlds import CLASSES, generator, network, own_images, share, target

SMALL: dict[str, object] = {
    "pool_size": 600,
    "candidates": 24,
    "kept": 10,
    "mirror": False,
    "final_flip": 0.0,
    "final_scale": (0.8, 1.0),
    "steps": 30,
    "learning_rate": 0.02,
    "transforms": 10,
    "surrogate_width": 64,
    "surrogate_epochs": 12,
    "label_steps": 8,
    "sphere_radius": 1.0,
}


def serving(network: nn.Module, access: Access) -> Classifier:
    if access == "label":
        return lambda images: network(images).argmax(dim=1)
    return (lambda images: network(images).softmax(dim=1)) if access == "query" else network


def inverted(access: Access, network: nn.Module | None = None, seed: int = 0, **options: object) -> ClassInversion:
    given = PlugAndPlayOptions.model_validate({**SMALL, "access": access, **options})
    served = serving(network or target(), access)
    return invert(served, generator(), classes=CLASSES, options=given, draws=torch.Generator().manual_seed(seed))


@cache
def found(access: Access) -> ClassInversion:
    return inverted(access)


@pytest.fixture(params=get_args(Access))
def access(request: pytest.FixtureRequest) -> Access:
    given: Access = request.param
    return given


def mean_share(inversion: ClassInversion, which: str) -> float:
    return sum(share(getattr(each, which), each.label) for each in inversion.classes) / len(inversion.classes)


def test_it_finds_the_classes(access: Access) -> None:
    inversion = found(access)
    assert mean_share(inversion, "random") < 0.25
    assert mean_share(inversion, "images") > 0.85
    assert inversion.access == access
    assert not inversion.exhausted


def test_what_it_gives_is_whole(access: Access) -> None:
    for label, each in enumerate(found(access).classes):
        assert each.label == label
        assert each.judged
        for images in (each.images, each.starts, each.random):
            assert tuple(images.shape) == (10, 1, 8, 8)
            assert 0 <= float(images.min()) <= float(images.max()) <= 1
        assert torch.equal(each.confidence, each.confidence.sort(descending=True).values)
        torch.testing.assert_close(generator().synthesize(each.latents), each.images)


def test_latents_move_and_stay_inside_the_prior(access: Access) -> None:
    inversion = found(access)
    assert all(0 < each.moved < 5 for each in inversion.classes)
    assert all(float(generator().prior.distance(each.latents).max()) <= 1 + 1e-4 for each in inversion.classes)


def test_an_untrained_target_gives_nothing_away() -> None:
    assert mean_share(inverted("query", network(9, hidden=64)), "images") < 0.3


def test_the_victim_stays_as_it_was(access: Access) -> None:
    before = fingerprint(target().state_dict())
    inverted(access, candidates=10, steps=3, label_steps=2)
    assert fingerprint(target().state_dict()) == before
    assert all(weight.grad is None for weight in target().parameters())


def test_the_same_draws_find_the_same(access: Access) -> None:
    small: dict[str, Any] = {
        "pool_size": 200,
        "candidates": 10,
        "steps": 4,
        "label_steps": 2,
        "transforms": 2,
        "surrogate_epochs": 2,
    }
    first, second, other = (inverted(access, seed=seed, **small) for seed in (4, 4, 5))
    images = [torch.cat([each.images for each in inversion.classes]) for inversion in (first, second, other)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_every_question_is_counted(access: Access) -> None:
    seen = 0

    def counting(images: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(images)
        return serving(target(), access)(images)

    given = PlugAndPlayOptions.model_validate({**SMALL, "access": access})
    draws = torch.Generator().manual_seed(0)
    inversion = invert(counting, generator(), classes=CLASSES, options=given, draws=draws)
    assert inversion.asked == seen
    planned = {
        "gradients": 600 + 10 * 24 * (30 + 10),
        "query": 600 + 10 * 24 * (1 + 10),
        "label": 600 + 10 * 24 * (1 + 8 * 33 + 10),
    }
    assert seen == planned[access]


@pytest.mark.parametrize("budget", [600, 700, 1500])
def test_where_the_budget_ends_nothing_is_lost(access: Access, budget: int) -> None:
    inversion = inverted(access, query_budget=budget)
    assert inversion.asked <= budget
    assert f"budget of {budget:,} is exhausted" in inversion.exhausted
    assert "is kept" in inversion.exhausted
    assert [each.label for each in inversion.classes] == list(range(CLASSES))
    assert not all(each.judged for each in inversion.classes)
    assert mean_share(inversion, "images") > 0.6, "the pool was asked about: these are at least the best of it"


@pytest.mark.parametrize("budget", [130, 600, 2000])
def test_a_target_that_counts_itself_ends_it_likewise(budget: int) -> None:
    left = budget

    def serve(images: torch.Tensor) -> torch.Tensor:
        nonlocal left
        if left < len(images):
            raise BudgetExhausted("the server answers no more")
        left -= len(images)
        return serving(target(), "query")(images)

    given = PlugAndPlayOptions.model_validate(SMALL)
    inversion = invert(serve, generator(), classes=CLASSES, options=given, draws=torch.Generator().manual_seed(0))
    assert inversion.exhausted == "the server answers no more. What was found until then is kept"
    assert len(inversion.classes) == CLASSES
    assert mean_share(inversion, "images") > 0.5


def test_a_target_that_never_answers_gives_nothing() -> None:
    def refuse(_images: torch.Tensor) -> torch.Tensor:
        raise BudgetExhausted("the server answers no more")

    given = PlugAndPlayOptions.model_validate(SMALL)
    with pytest.raises(BudgetExhausted, match="answers no more"):
        invert(refuse, generator(), classes=CLASSES, options=given, draws=torch.Generator().manual_seed(0))


def test_a_budget_below_the_pool_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(UserError, match=r"query_budget \(599\) is less than the 600 questions about the pool"):
        inverted("query", query_budget=599)
    with pytest.raises(UserError, match=r"1,200 questions.*mirror is on"):
        inverted("query", query_budget=1000, mirror=True)


def test_it_tells_how_it_comes_along(access: Access) -> None:
    moments: list[InversionMoment] = []
    given = PlugAndPlayOptions.model_validate({**SMALL, "access": access})
    draws = torch.Generator().manual_seed(0)
    invert(
        serving(target(), access),
        generator(),
        classes=CLASSES,
        options=given,
        draws=draws,
        labels=(3, 7),
        on_moment=moments.append,
    )
    searched = [moment for moment in moments if moment.stage == "search"]
    assert {moment.label for moment in searched} == {3, 7}
    assert {"pool", "search", "final"} <= {moment.stage for moment in moments}
    assert [moment.asked for moment in moments] == sorted(moment.asked for moment in moments)
    assert all(0 <= moment.done <= moment.total for moment in moments)
    for moment in searched:
        assert moment.images is not None
        assert tuple(moment.images.shape) == (8, 1, 8, 8)
    assert moments[-1].stage == "final"
    last = [moment for moment in searched if moment.label == 7][-1]
    assert last.done == last.total


def test_a_generator_that_knows_the_classes_makes_the_figure_meaningless() -> None:
    labeled = build("mixture", {"directions": 32, "labeled": True})
    labeled.prepare(own_images(), torch.Generator().manual_seed(0))
    given = PlugAndPlayOptions.model_validate(SMALL)
    draws = torch.Generator().manual_seed(0)
    serve = serving(network(9, hidden=64), "query")
    inversion = invert(serve, labeled, classes=CLASSES, options=given, draws=draws)
    assert mean_share(inversion, "random") > 0.7, "before anybody asks, and of an untrained target"


def test_two_classes_by_probabilities_need_another_loss() -> None:
    def halves(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2), 0.5)

    given = PlugAndPlayOptions.model_validate(SMALL)
    with pytest.raises(UserError, match="max_margin"):
        invert(halves, generator(), classes=2, options=given, draws=torch.Generator())


def test_a_target_of_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2"):
        invert(target(), generator(), classes=1, options=PlugAndPlayOptions(), draws=torch.Generator())


@pytest.mark.parametrize(("labels", "found"), [((10,), "class 10"), ((-1, 2), "class -1"), ((), "no class")])
def test_a_class_that_is_none_is_refused(labels: tuple[int, ...], found: str) -> None:
    options, draws = PlugAndPlayOptions.model_validate(SMALL), torch.Generator()
    with pytest.raises(UserError, match=f"{found} is searched for; the target tells classes 0 to 9 apart"):
        invert(serving(target(), "query"), generator(), classes=10, options=options, draws=draws, labels=labels)


def test_a_generator_that_breaks_its_word_is_named() -> None:
    class Loud:
        name, shape, labeled = "loud", generator().shape, False
        sample = staticmethod(generator().sample)

        @staticmethod
        def synthesize(latents: torch.Tensor) -> torch.Tensor:
            return generator().synthesize(latents) * 2

    given = PlugAndPlayOptions.model_validate(SMALL)
    with pytest.raises(AttackError, match=r"generator loud: synthesize\(\) gave pixels in .*clamp them"):
        invert(serving(target(), "query"), Loud(), classes=CLASSES, options=given, draws=torch.Generator())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kept": 30, "candidates": 20}, r"kept \(30\) must be no more than candidates \(20\)"),
        ({"candidates": 700}, r"candidates \(700\) must be no more than pool_size \(600\)"),
        ({"crop_scale": (0.9, 1.1)}, "crop_scale"),
        ({"final_ratio": (1.2, 0.8)}, "final_ratio"),
        ({"access": "telepathy"}, "access"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PlugAndPlayOptions.model_validate({**SMALL, **options})
