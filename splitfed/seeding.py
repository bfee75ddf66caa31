"""Every random draw comes from a generator seeded by what the draw is for (DESIGN, section 5).

The parts are the run's seed, a purpose, and numbers such as client, round and step. Two draws with different
parts are independent; the same parts give the same draw in any process, in any order, on any machine.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SEED_BITS = 63  # a non-negative signed 64-bit number, which torch, numpy and protobuf all take


def seed_for(run_seed: int, purpose: str, *numbers: int) -> int:
    """The seed of one purpose, in [0, 2**63): a stable hash of the parts, unlike Python's own `hash`.

    >>> seed_for(0, "batches", 1, 2) == seed_for(0, "batches", 1, 2)
    True
    >>> seed_for(0, "batches", 1, 2) == seed_for(0, "batches", 12)
    False
    """
    # Each part in its decimal form, the purpose by repr: quotes and commas keep neighbors apart.
    parts = ",".join([str(int(run_seed)), repr(purpose), *(str(int(number)) for number in numbers)])
    digest = hashlib.blake2b(parts.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


def generator(run_seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """A CPU generator seeded by `seed_for` of the same parts."""
    import torch

    return torch.Generator().manual_seed(seed_for(run_seed, purpose, *numbers))
