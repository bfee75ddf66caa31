"""One sparse layer: its codes are all that the linear layer sees, and its dictionary is learned once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from splitfed.defenses import build
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.models.front import FrontSpec
from splitfed.models.sparse import SparseCodingLayer
from splitfed.models.sparse_standard_front import SparseStandardFront
from splitfed.seeding import generator
from splitfed.types import ImageShape
from tests.federation.harness import train


@pytest.mark.parametrize("channels", [1, 3])
def test_the_layers_are_those_of_the_design(channels: int) -> None:
    spec = FrontSpec(ImageShape(channels, 8, 8), 24, hidden_layers=1)
    front = build("sparse_standard", {"l1_weight": 0.25}).build_front(spec, generator(0, "front"))
    assert isinstance(front, SparseStandardFront)
    assert [type(layer) for layer in front.body.children()] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    assert front.sparse_layers() == [front.first_layer]
    assert front.first_layer.l1_weight == 0.25
    codes = front.stem(torch.rand(2, channels, 8, 8))
    assert codes.shape == (2, 16, 8, 8)
    assert bool((codes >= 0).all())


def test_the_dictionary_is_learned_before_training_and_then_fixed(
    job_of: Callable[..., Job], shares: Sequence[ClientImages]
) -> None:
    dictionaries = {}
    for rounds in (1, 2):
        job = job_of("sparse_standard", options={"first_rounds": 1, "first_steps": 2}, federation={"rounds": rounds})
        stem = train(job, shares, direct=True).front.stem
        assert isinstance(stem, SparseCodingLayer)
        dictionaries[rounds] = stem.dictionary
    start = job_of("sparse_standard").front().stem.state_dict()["dictionary"]
    assert torch.equal(dictionaries[1], dictionaries[2])
    assert not torch.allclose(dictionaries[1], start)


def test_a_random_dictionary_is_not_learned() -> None:
    assert build("sparse_standard", {"first_dictionary": "random"}).prepare_rounds() == 0
    assert build("sparse_standard", {}).prepare_rounds() == 3
