"""The attack through the known dictionary, and the convolutional networks beneath it."""

from __future__ import annotations

import pytest
import torch

from splitfed.attacks import build
from splitfed.attacks.convolutional import ConvolutionalResidual
from splitfed.attacks.residual import Residual
from splitfed.attacks.standardization import moments, pixels_of, standardized
from splitfed.errors import AttackError
from splitfed.metrics import psnr_db
from splitfed.types import ImageShape
from tests.attacks.worlds import digits, one_ridge_for_all, run, small, world


def test_it_sees_more_than_ridge_through_a_sparse_front() -> None:
    here = world(sparse=True)
    scores = {}
    for name in ("ridge", "dictionary"):
        attack = small(name)
        run(attack, here.knowledge)
        scores[name] = float(psnr_db(here.images(attack), here.victims.pixels).mean())
    for_all = float(psnr_db(one_ridge_for_all(here), here.victims.pixels).mean())
    assert scores["dictionary"] > for_all + 0.3, (scores, for_all)
    assert scores["dictionary"] > scores["ridge"] + 0.15, scores  # which has a regression for each label


def test_it_applies_to_sparse_fronts_only_and_says_so() -> None:
    attack, plain = small("dictionary"), world().knowledge
    assert attack.applies(world(sparse=True).knowledge)
    assert not attack.applies(plain)
    with pytest.raises(AttackError, match="no sparse coding layer"):
        attack.begin(plain, torch.Generator())


def test_codes_and_the_dictionary_describe_the_standardized_image() -> None:
    """With the exact codes' own image in reach of ridge, what comes through the codes is close to the image."""
    here = world(sparse=True, width=400)
    attack = small("dictionary")
    attack.begin(here.knowledge, torch.Generator().manual_seed(0))
    rows = attack._through(attack._begun.seen(here.observed(), here.victims.labels))  # type: ignore[attr-defined]
    truth = standardized(here.victims.pixels.flatten(1))[:, :64]
    coded = rows[:, :64]
    # sparsity shrinks codes, so that the scale is off; the pattern is not
    similarity = torch.nn.functional.cosine_similarity(coded - coded.mean(1, keepdim=True), truth, dim=1)
    assert similarity.mean() > 0.9


def test_mean_and_scale_undo_the_standardization() -> None:
    pixels = digits().pixels[:50].flatten(1)
    rows = standardized(pixels)
    torch.testing.assert_close(rows[:, -2:], moments(pixels))
    torch.testing.assert_close(pixels_of(rows), pixels, atol=1e-5, rtol=0)
    flat = standardized(torch.full((1, 64), 0.3))
    assert bool(flat.isfinite().all())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 33, 9)])
def test_the_convolutional_correction_fits_any_image(shape: tuple[int, int, int]) -> None:
    generator, size = torch.Generator().manual_seed(0), ImageShape(*shape)
    dense = Residual(5, size.pixels, width=6, hidden=4, blocks=1, generator=generator)
    network = ConvolutionalResidual(dense, size, channels=2, generator=generator)
    inputs = torch.rand(3, 5 + size.pixels, generator=generator)
    assert network(inputs).shape == (3, size.pixels)
    assert network(inputs).abs().max() > 0
    network.silence()
    assert network(inputs).abs().max() == 0


def test_the_convolutional_decoder_starts_exactly_at_ridge_and_leaves_it() -> None:
    here = world()
    ridge, decoder = build("ridge", {"draws": 4}), small("conv_decoder")
    run(ridge, here.knowledge, seed=3)
    decoder.begin(here.knowledge, torch.Generator().manual_seed(3))
    torch.testing.assert_close(here.images(decoder), here.images(ridge))
    while not decoder.advance().finished:
        pass
    scores = [psnr_db(here.images(a), here.victims.pixels).mean() for a in (ridge, decoder)]
    assert scores[1] > scores[0] + 0.3
