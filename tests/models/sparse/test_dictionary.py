"""Learning a dictionary lowers what the layer minimizes, and keeps atoms on the unit sphere."""

from __future__ import annotations

import torch

from splitfed.models.sparse import SparseCodingLayer, learn_dictionary
from splitfed.models.sparse.problem import Atoms
from tests.models.sparse.conftest import smooth_images


def _layer(features: int = 8) -> SparseCodingLayer:
    return SparseCodingLayer(1, features, tolerance=1e-2, generator=torch.Generator().manual_seed(0))


def _mean_objective(layer: SparseCodingLayer, x: torch.Tensor) -> float:
    with torch.no_grad():
        codes = layer(x)
        residual = layer.prepare(x) - Atoms(layer.dictionary, 1).synthesize(codes)
    return float(residual.square().sum() / 2 + layer.l1_weight * codes.sum()) / len(x)


def _assert_unit_norm(layer: SparseCodingLayer) -> None:
    torch.testing.assert_close(layer.dictionary.detach().flatten(1).norm(dim=1), torch.ones(len(layer.dictionary)))


def test_learning_lowers_the_objective_of_unseen_images() -> None:
    images = smooth_images(60, 1, 14, 14).float()
    layer = _layer()
    before = _mean_objective(layer, images[40:])
    seen: list[tuple[int, int]] = []
    learn_dictionary(
        layer,
        images[:40],
        steps=15,
        batch_size=10,
        generator=torch.Generator().manual_seed(0),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert _mean_objective(layer, images[40:]) < 0.9 * before
    assert seen == [(i + 1, 15) for i in range(15)]
    _assert_unit_norm(layer)


def test_learning_repeats_under_a_seed_and_keeps_no_graph() -> None:
    images, layers = smooth_images(20, 1, 12, 12).float(), [_layer(), _layer()]
    for layer in layers:
        learn_dictionary(layer, images, steps=3, batch_size=8, generator=torch.Generator().manual_seed(5))
    assert torch.equal(layers[0].dictionary, layers[1].dictionary)
    assert layers[0].dictionary.requires_grad
    assert layers[0].dictionary.is_leaf


def test_a_small_update_lowers_the_residual_of_its_own_batch() -> None:
    layer, x = _layer(), smooth_images(8, 1, 12, 12).float()
    codes = layer(x).detach()
    canvas = layer.prepare(x)

    def residual() -> float:
        return float((canvas - Atoms(layer.dictionary.detach(), 1).synthesize(codes)).square().sum())

    before = residual()
    layer.update_dictionary(x, codes, rate=0.05)
    assert residual() < before
    _assert_unit_norm(layer)


def test_unused_atoms_stay_and_rate_zero_moves_nothing() -> None:
    layer, x = _layer(), smooth_images(4, 1, 12, 12).float()
    codes = layer(x).detach()
    codes[:, 3] = 0
    before = layer.dictionary.detach().clone()
    layer.update_dictionary(x, codes, rate=0.0)
    torch.testing.assert_close(layer.dictionary.detach(), before)
    layer.update_dictionary(x, codes, rate=0.5)
    torch.testing.assert_close(layer.dictionary.detach()[3], before[3])
    assert not torch.allclose(layer.dictionary.detach()[0], before[0])


def test_update_without_any_active_code_changes_nothing() -> None:
    layer = _layer()
    before = layer.dictionary.detach().clone()
    layer.update_dictionary(torch.rand(2, 1, 8, 8), torch.zeros(2, 8, 8, 8))
    torch.testing.assert_close(layer.dictionary.detach(), before)


def test_normalize_restores_unit_norm_after_an_average() -> None:
    layer = _layer()
    with torch.no_grad():
        layer.dictionary.mul_(0.3)
    layer.normalize_()
    _assert_unit_norm(layer)
