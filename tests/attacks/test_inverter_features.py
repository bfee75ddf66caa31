"""What an attack makes of activations before it learns from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitfed.types import Images, Knowledge


def knowledge(*, randomized: bool, nonnegative: bool) -> Knowledge:
    def observe(pixels: Tensor, _: torch.Generator) -> Tensor:
        return pixels

    images = Images(torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64), ("only",))
    return Knowledge(
        images, observe, expected=nn.Flatten(), front=nn.Flatten(), randomized=randomized, nonnegative=nonnegative
    )


def test_what_noise_made_negative_is_cut_off_where_the_front_is_never_negative() -> None:
    tapped = torch.tensor([[[-1.5, 0.0], [0.25, 2.0]]])
    assert knowledge(randomized=True, nonnegative=True).features(tapped).tolist() == [[0.0, 0.0, 0.25, 2.0]]


def test_everything_else_is_left_alone() -> None:
    tapped = torch.tensor([[[-1.5, 0.0], [0.25, 2.0]]])
    for randomized, nonnegative in ((False, True), (True, False), (False, False)):
        features = knowledge(randomized=randomized, nonnegative=nonnegative).features(tapped)
        assert features.tolist() == [[-1.5, 0.0, 0.25, 2.0]]
