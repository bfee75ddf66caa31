"""The sparse coding architecture's layers are those of its options, and it is taught by private images alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from splitfed.defenses import build
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.models.front import FrontSpec
from splitfed.models.sparse_front import SparseFront
from splitfed.seeding import generator
from splitfed.types import ImageShape
from tests.defenses.quick import quick
from tests.federation.harness import train

QUICK = {"first_rounds": 1, "first_steps": 2}


def front_of(options: dict[str, object], shape: ImageShape) -> SparseFront:
    front = build("sca", options).build_front(FrontSpec(shape, 24, 1), generator(0, "front"))
    assert isinstance(front, SparseFront)
    return front


def test_both_layers_have_one_weight_unless_the_second_has_its_own() -> None:
    shape = ImageShape(1, 8, 8)
    both, apart = front_of({"l1_weight": 0.3}, shape), front_of({"l1_weight": 0.3, "second_l1_weight": 0.7}, shape)
    assert [layer.l1_weight for layer in both.sparse_layers()] == [0.3, 0.3]
    assert [layer.l1_weight for layer in apart.sparse_layers()] == [0.3, 0.7]
    images = torch.rand(8, 1, 8, 8, generator=generator(0, "images"))
    densities = []
    for front in (both, apart):
        front.eval()(images)
        densities.append(front.sparse_layers()[1].report.density)
    assert densities[1] < densities[0]


@pytest.mark.parametrize("shape", [ImageShape(1, 8, 8), ImageShape(3, 9, 11)])
@torch.no_grad()
def test_a_convolution_stands_behind_the_sparse_layers(shape: ImageShape) -> None:
    front = front_of({"downstream": "convolutional"}, shape).eval()
    kinds = [type(layer) for layer in front.body.children()][3:]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    assert front(torch.rand(2, *shape)).shape == (2, 24)
    again = front_of({"downstream": "convolutional"}, shape)
    assert all(torch.equal(one, other) for one, other in zip(front.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("options", [{"downstream": "convolutional"}, {"kernel_size": 7}, {"second_l1_weight": 0.9}])
def test_every_variant_trains_over_the_wire_as_without(
    options: dict[str, object], job_of: Callable[..., Job], shares: Sequence[ClientImages]
) -> None:
    job = job_of("sca", options={**QUICK, **options}, federation={"rounds": 1})
    over_the_wire, without = train(job, shares).front, train(job, shares, direct=True).front
    assert isinstance(over_the_wire, SparseFront)
    pairs = zip(over_the_wire.state_dict().values(), without.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    start = job.front().state_dict()["body.1.layer.dictionary"]
    assert not torch.equal(over_the_wire.sparse_layers()[1].dictionary, start)


def test_images_that_another_defense_makes_are_told_apart(
    job_of: Callable[..., Job], shares: Sequence[ClientImages], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(SparseFront, "after_step", lambda self, own: seen.append(own))  # noqa: ARG005
    layers = [{"name": "sca", **QUICK}, {"name": "gan", **quick("gan").options}]
    job = job_of("stack", options={"layers": layers}, federation={"rounds": 1})
    train(job, shares, direct=True)
    own, all_of_them = sum(int(step.sum()) for step in seen), sum(len(step) for step in seen)
    made = sum(build("gan", dict(quick("gan").options)).generated(len(share.train)) for share in shares)
    assert own == sum(len(share.train) for share in shares)
    assert all_of_them == own + made > own
