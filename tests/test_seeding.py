"""Seeds: stable over processes, different for different purposes."""

from __future__ import annotations

import itertools

import torch

from splitfed.seeding import generator, seed_for


def test_a_seed_is_the_same_on_every_machine() -> None:
    """Fixed values: a change of the hash would silently change every published result."""
    assert seed_for(0, "batches") == 3765350619814416059
    assert seed_for(7, "noise", 1, 2, 3) == 7973893851242708784


def test_different_parts_give_different_seeds() -> None:
    numbers = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (10,), (1, 0, 0)]
    purposes = ["batches", "batches,0", "noise", ""]
    parts = list(itertools.product([0, 1, 10], purposes, numbers))
    seeds = {seed_for(run, purpose, *rest) for run, purpose, rest in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_repeats_and_does_not_touch_the_global_one() -> None:
    before = torch.get_rng_state()
    first = torch.randn(8, generator=generator(3, "noise", 1))
    again = torch.randn(8, generator=generator(3, "noise", 1))
    other = torch.randn(8, generator=generator(3, "noise", 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
