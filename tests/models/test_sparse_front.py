"""What an average of fronts leaves of the sparse layers."""

from __future__ import annotations

import torch

from splitfed.models.sparse_front import SparseFront
from splitfed.seeding import generator
from splitfed.types import ImageShape


def front() -> SparseFront:
    return SparseFront(
        ImageShape(1, 8, 8), 24, l1_weight=0.5, kernel_size=5, dictionary_rate=0.2, generator=generator(0, "front")
    )


@torch.no_grad()
def test_shrunken_atoms_are_stretched_and_others_left_to_the_bit() -> None:
    one = front()
    first, second = one.sparse_layers()
    before = first.dictionary.clone()
    second.dictionary.mul_(0.9)
    one.after_average()
    assert torch.equal(first.dictionary, before)
    assert torch.allclose(second.dictionary.flatten(1).norm(dim=1), torch.ones(28))


@torch.no_grad()
def test_a_second_average_changes_nothing() -> None:
    one = front()
    for layer in one.sparse_layers():
        layer.dictionary.mul_(torch.rand(len(layer.dictionary), 1, 1, 1, generator=generator(0, "scale")) + 0.1)
    one.after_average()
    once = [layer.dictionary.clone() for layer in one.sparse_layers()]
    one.after_average()
    assert all(torch.equal(a, layer.dictionary) for a, layer in zip(once, one.sparse_layers(), strict=True))


def trained_on(pixels: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """The second dictionary after one step on these images."""
    one = front().train()
    one.body(one.stem(pixels))
    one.after_step(own)
    return one.sparse_layers()[1].dictionary.detach().clone()


@torch.no_grad()
def test_generated_images_teach_the_dictionary_nothing() -> None:
    pixels = torch.rand(12, 1, 8, 8, generator=generator(0, "images"))
    own = torch.arange(12) < 8
    before = front().sparse_layers()[1].dictionary
    assert torch.equal(trained_on(pixels, torch.zeros(12, dtype=torch.bool)), before)
    all_of_it, of_own = trained_on(pixels, torch.ones(12, dtype=torch.bool)), trained_on(pixels, own)
    assert not torch.allclose(of_own, before)
    assert not torch.allclose(of_own, all_of_it)
    one = front().train()
    layer = one.sparse_layers()[1]
    x = next(one.body.children())(one.stem(pixels))
    layer.update_dictionary(x[own], layer(x)[own], rate=0.2)
    assert torch.allclose(layer.dictionary, of_own, atol=1e-6)
