"""The GAN defense: what a client makes, and that the gate tells a GAN that learned nothing."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from splitfed import data
from splitfed.defenses.gan import GanDefense, GanOptions, gan_findings, repeated
from splitfed.seeding import generator
from splitfed.types import Images


def generated(own: Images, *, epochs: int = 12, per_real: float = 1.0) -> tuple[GanDefense, Images]:
    # not validated, so that a test can ask for no epoch at all
    defense = GanDefense(GanOptions.model_construct(epochs=epochs, per_real=per_real))
    return defense, defense.generate(own, generator(0, "generate"))


def passes(defense: GanDefense) -> bool:
    return all(found.acts for found in gan_findings([defense.measures()]))


def test_a_trained_gan_passes_and_an_untrained_one_does_not(digits: data.Splits) -> None:
    trained, _ = generated(digits.train[:240])
    untrained, _ = generated(digits.train[:240], epochs=0)
    assert passes(trained)
    assert not passes(untrained)
    assert untrained.measures()["gan_recognized"] < 0.25


def test_a_gan_that_takes_every_class_for_the_same_fails(digits: data.Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    from splitfed.models import gan

    forward = gan.Generator.forward
    monkeypatch.setattr(gan.Generator, "forward", lambda self, z, labels: forward(self, z, torch.zeros_like(labels)))
    deaf, _ = generated(digits.train[:240])
    assert deaf.measures()["gan_moved"] > 0
    assert not passes(deaf)


def test_nothing_measured_fails() -> None:
    assert not all(found.acts for found in gan_findings([]))
    assert not all(found.acts for found in gan_findings([{}]))


@pytest.mark.parametrize("per_real", [0.5, 1.0, 2.0])
def test_the_classes_keep_their_shares(per_real: float, digits: data.Splits) -> None:
    own = digits.train[:80]
    defense, made = generated(own, epochs=1, per_real=per_real)
    assert len(made) == defense.generated(80) == 80 * per_real
    assert set(made.labels.tolist()) <= set(own.labels.tolist())
    if per_real >= 1:
        wanted = torch.bincount(own.labels, minlength=10) * int(per_real)
        assert torch.equal(torch.bincount(made.labels, minlength=10), wanted)


def test_labels_are_repeated_as_often_as_they_fit() -> None:
    labels = repeated(torch.tensor([4, 4, 7]), 7, generator(0, "labels"))
    assert sorted(labels.tolist())[:4] == [4] * 4
    assert len(labels) == 7
    assert 2 <= labels.tolist().count(7) <= 3


def test_no_image_is_a_copy_of_an_own_one(digits: data.Splits) -> None:
    own = digits.train[:80]
    _, made = generated(own, epochs=3)
    assert not set(made.content_hashes()) & set(own.content_hashes())


def test_a_client_with_images_of_one_class(digits: data.Splits) -> None:
    own = digits.train[digits.train.labels == 6]
    defense, made = generated(own, epochs=2)
    assert set(made.labels.tolist()) == {6}
    assert passes(defense)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"per_real": 0.0}, {"epoch": 3}])
def test_options_that_do_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        GanOptions.model_validate(options)
