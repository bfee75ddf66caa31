"""The GAN that clients train, on real digits and on images of any shape."""

from __future__ import annotations

import math

import pytest
import torch

from splitfed import data
from splitfed.errors import SplitfedError
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.gan import Discriminator, Generator, TrainedGan, latents, train_gan
from splitfed.models.inversion import agreement, invert, train_classifier
from splitfed.seeding import generator
from splitfed.types import Images, ImageShape


@pytest.fixture(scope="module")
def gan(digits: data.Splits) -> TrainedGan:
    return train_gan(digits.train, epochs=8, generator=generator(0, "gan"))


def test_a_classifier_of_real_digits_recognizes_the_generated_ones(gan: TrainedGan, digits: data.Splits) -> None:
    # the classifier sees only images that the GAN has not seen
    classifier = train_classifier(digits.aux, epochs=10, generator=generator(0, "classifier"))
    labels = torch.arange(10).repeat(40)
    made = gan.sample(labels, generator(0, "sample"))
    untrained = train_gan(digits.train, epochs=0, generator=generator(0, "gan"))
    assert agreement(classifier, digits.test.pixels, digits.test.labels) > 0.85
    assert agreement(classifier, made, labels) > 0.7
    assert agreement(classifier, untrained.sample(labels, generator(0, "sample")), labels) < 0.2


def test_images_of_one_class_differ(gan: TrainedGan, digits: data.Splits) -> None:
    labels = torch.full((200,), 3)
    spread = gan.sample(labels, generator(0, "sample")).std(dim=0).mean()
    real = digits.train.pixels[digits.train.labels == 3].std(dim=0).mean()
    assert spread > real / 4


def test_losses_are_finite_and_the_generator_moved(gan: TrainedGan) -> None:
    assert len(gan.losses) == 8
    assert all(math.isfinite(loss) and loss > 0 for losses in gan.losses for loss in losses)
    assert gan.moved > 0.01


def test_training_repeats_under_a_seed_and_draws_from_nothing_else(digits: data.Splits) -> None:
    prints = []
    for seed, unrelated in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(unrelated)
        trained = train_gan(digits.train[:64], epochs=1, generator=generator(seed, "gan"))
        prints.append(fingerprint(trained.generator.state_dict()))
    assert prints[0] == prints[1] != prints[2]


def test_a_caller_without_gradients_changes_nothing(digits: data.Splits) -> None:
    # a client may first need its images in an evaluation
    with torch.no_grad():
        within = train_gan(digits.train[:64], epochs=1, generator=generator(0, "gan"))
    without = train_gan(digits.train[:64], epochs=1, generator=generator(0, "gan"))
    assert fingerprint(within.generator.state_dict()) == fingerprint(without.generator.state_dict())


@pytest.mark.parametrize(
    "shape", [ImageShape(1, 8, 8), ImageShape(3, 9, 13), ImageShape(1, 28, 28), ImageShape(3, 32, 32)]
)
def test_images_of_any_shape(shape: ImageShape) -> None:
    images = Images(
        torch.rand(5, *shape, generator=generator(0, "pixels")), torch.tensor([0, 2, 2, 0, 2]), ("a", "b", "c")
    )
    trained = train_gan(images, epochs=1, generator=generator(0, "gan"))
    made = trained.sample(torch.tensor([2, 1, 0, 0]), generator(0, "sample"))
    assert made.shape == (4, *shape)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert trained.moved > 0


def test_both_networks_read_the_class() -> None:
    shape = ImageShape(1, 8, 8)
    noise, same = latents(4, generator(0, "latents")), torch.zeros(4, dtype=torch.int64)
    pixels = Generator(shape, 3).eval()(noise, same)
    assert not torch.equal(pixels, Generator(shape, 3).eval()(noise, same + 1))
    judge = Discriminator(shape, 3)
    assert not torch.equal(judge(pixels, same), judge(pixels, same + 1))


def test_one_image_is_too_few(digits: data.Splits) -> None:
    with pytest.raises(SplitfedError, match="at least 2 images"):
        train_gan(digits.train[:1], epochs=1, generator=generator(0, "gan"))


def test_the_search_finds_images_of_one_class_that_count_as_another(gan: TrainedGan, digits: data.Splits) -> None:
    classifier = train_classifier(digits.train, epochs=5, generator=generator(0, "classifier"))
    labels = torch.arange(10).repeat(10)
    others = (labels + 1) % 10

    def accepted(steps: int) -> float:
        found = invert(classifier, gan, labels, others, steps=steps, generator=generator(0, "search"))
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1
        return agreement(classifier, found, labels)

    assert accepted(0) < 0.2
    assert accepted(40) > 2 * accepted(0) + 0.2


def test_the_search_changes_neither_network(gan: TrainedGan, digits: data.Splits) -> None:
    classifier = train_classifier(digits.train[:64], epochs=1, generator=generator(0, "classifier"))
    before = fingerprint(gan.generator.state_dict()), fingerprint(classifier.state_dict())
    labels = torch.arange(10)
    invert(classifier, gan, labels, labels, steps=3, generator=generator(0, "search"))
    assert before == (fingerprint(gan.generator.state_dict()), fingerprint(classifier.state_dict()))
