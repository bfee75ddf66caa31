"""A generator that was trained on the victims' images is refused, however that shows."""

from __future__ import annotations

import pytest
import torch

from splitfed.errors import UserError
from splitfed.generators.base import GeneratorProvenance
from splitfed.generators.disjoint import overlap, refuse_victims
from splitfed.types import Images
from tests.attacks.worlds import digits

VICTIMS, OTHERS = digits()[600:800], digits()[:200]


def trained_on(images: Images) -> GeneratorProvenance:
    return GeneratorProvenance("here", "own", images)


def with_groups(images: Images, first: int) -> Images:
    return Images(images.pixels, images.labels, images.classes, first + torch.arange(len(images)))


def test_other_images_are_fine() -> None:
    found = overlap(trained_on(OTHERS), VICTIMS)
    assert (found.known, found.equal, found.groups) == (True, 0, 0)
    refuse_victims("g", found, near_is_overlap=False)


def test_one_image_of_a_victim_is_enough() -> None:
    both = Images(torch.cat([OTHERS.pixels, VICTIMS.pixels[:1]]), torch.zeros(201).long(), OTHERS.classes)
    found = overlap(trained_on(both), VICTIMS)
    assert found.equal == 1
    with pytest.raises(UserError, match="generator g: it was trained on the victims' images"):
        refuse_victims("g", found, near_is_overlap=False)


def test_hashes_alone_are_enough() -> None:
    found = overlap(GeneratorProvenance("public", "MIT", hashes=frozenset(VICTIMS.content_hashes()[:3])), VICTIMS)
    assert (found.equal, found.near) == (3, None)
    with pytest.raises(UserError, match="3 of the generator's training images equal"):
        refuse_victims("g", found, near_is_overlap=False)


def test_nearly_equal_images_count_where_the_split_has_none() -> None:
    touched = VICTIMS.pixels.clone()
    touched[..., 3, 3] = (touched[..., 3, 3] - 0.02).abs()
    found = overlap(trained_on(Images(touched, VICTIMS.labels, VICTIMS.classes)), VICTIMS)
    assert (found.equal, found.near) == (0, 200)
    refuse_victims("g", found, near_is_overlap=False)
    with pytest.raises(UserError, match="200 nearly equal one"):
        refuse_victims("g", found, near_is_overlap=True)
    unseen = overlap(trained_on(Images(touched, VICTIMS.labels, VICTIMS.classes)), VICTIMS, compare_near=False)
    assert unseen.near is None


def test_another_image_of_a_victims_group_is_enough() -> None:
    found = overlap(trained_on(with_groups(OTHERS, 0)), with_groups(VICTIMS, 150))
    assert found.groups == 50
    with pytest.raises(UserError, match="50 groups in common"):
        refuse_victims("g", found, near_is_overlap=False)


def test_where_nothing_is_known_it_says_so() -> None:
    found = overlap(GeneratorProvenance("somebody", "unknown"), VICTIMS)
    assert not found.known
    assert "nothing was compared" in found.detail
