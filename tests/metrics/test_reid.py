"""Ranks and neighbors of single images agree with the rate that is reported."""

from __future__ import annotations

import torch

from splitfed.metrics.reid import nearest_among, reid_hits


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def test_a_rank_of_one_is_a_hit_of_the_metric() -> None:
    truth = images(60, 0)
    made = (truth + 0.5 * (images(60, 1) - 0.5)).clamp(0, 1)
    made[::3] = images(60, 2)[::3]
    ranks, nearest = nearest_among(made, truth, truth, torch.arange(60), count=3)
    hits = reid_hits(made, truth)
    assert 0 < hits.sum() < 60
    assert torch.equal(ranks == 1, hits)
    assert torch.equal(nearest[:, 0] == torch.arange(60), hits)
    distances = torch.cdist(made.flatten(1).double(), truth.flatten(1).double())
    assert torch.equal(nearest, distances.argsort(dim=1)[:, :3])
    assert torch.equal(ranks, 1 + (distances < distances.diagonal()[:, None]).sum(dim=1))


def test_a_tie_counts_against_the_original() -> None:
    truth = images(3, 0)
    truth[2] = truth[1]
    ranks, _ = nearest_among(truth, truth, truth, torch.arange(3), count=1)
    assert ranks.tolist() == [1, 2, 2]


def test_an_image_beyond_the_candidates_competes_with_them_and_for_itself_alone() -> None:
    truth = images(40, 0)
    ranks, nearest = nearest_among(truth[10:], truth[10:], truth[:10], torch.arange(10, 40), count=3)
    assert ranks.tolist() == [1] * 30
    assert nearest[:, 0].tolist() == list(range(10, 40))
    assert (nearest[:, 1:] < 10).all()


def test_fewer_candidates_than_are_asked_for() -> None:
    truth = images(2, 0)
    _, nearest = nearest_among(truth, truth, truth, torch.arange(2), count=3)
    assert nearest.tolist() == [[0, 1], [1, 0]]
