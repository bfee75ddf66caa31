"""Which client holds which images: evenly mixed, or skewed as hospitals are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from splitfed.errors import DataError, unknown
from splitfed.seeding import seed_for

if TYPE_CHECKING:
    from torch import Tensor

Shares = list[NDArray[np.int64]]
SCHEMES = ("iid", "dirichlet", "by_class")
DIRICHLET_TRIES = 100


def partition(
    labels: Tensor, *, clients: int, seed: int, scheme: str = "iid", alpha: float = 0.5, at_least: int = 1
) -> list[Tensor]:
    """The positions that each client holds: int64, disjoint, together all of them, `at_least` so many each.

    ``iid``: shuffled and cut into parts whose sizes differ by at most one.
    ``dirichlet``: the shares of each class over the clients are drawn from Dir(``alpha``); small alpha is
    skewed, large is even (Yurochkin et al. 2019, arXiv 1905.12022). Drawn again where a share is too small.
    ``by_class``: sorted by class and cut into equal parts, so that a client knows few classes
    (McMahan et al. 2017, arXiv 1602.05629, with one shard per client).

    Raises:
        DataError: an unknown scheme, a bad alpha, or too few images for so many clients.
    """
    import torch

    known = labels.numpy()
    if scheme not in SCHEMES:
        raise DataError(unknown("partition scheme", scheme, SCHEMES))
    most = len(known) // at_least
    if not 1 <= clients <= most:
        raise DataError(
            f"partition: {clients} clients over {len(known)} images, {_at_least(at_least)} each; "
            f"expected 1 to {most} clients"
        )
    rng = np.random.default_rng(seed_for(seed, "partition"))
    if scheme == "dirichlet":
        shares = _dirichlet(known, clients, alpha, at_least, rng)
    elif scheme == "by_class":
        shares = np.array_split(_sorted_by_class(known, rng), clients)
    else:
        shares = np.array_split(rng.permutation(len(known)), clients)
    return [torch.from_numpy(rng.permutation(share).astype(np.int64)) for share in shares]


def _sorted_by_class(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """All positions, class after class, the classes and the images within each in random order."""
    order = rng.permutation(len(labels))
    rank = rng.permutation(int(labels.max()) + 1)
    return np.asarray(order[np.argsort(rank[labels[order]], kind="stable")])


def _dirichlet(
    labels: NDArray[np.int64], clients: int, alpha: float, at_least: int, rng: np.random.Generator
) -> Shares:
    if not 0 < alpha < float("inf"):
        raise DataError(f"partition: alpha is {alpha}; expected a positive number (0.1 is skewed, 100 is even)")
    for _ in range(DIRICHLET_TRIES):
        shares = _dirichlet_draw(labels, clients, alpha, rng)
        if min(map(len, shares)) >= at_least:
            return shares
    raise DataError(
        f"partition: of {DIRICHLET_TRIES} draws from Dir({alpha:g}) over {len(labels)} images none gave each "
        f"of {clients} clients {_at_least(at_least)}; raise alpha or have fewer clients"
    )


def _dirichlet_draw(labels: NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator) -> Shares:
    pieces: list[Shares] = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1] * len(rows)).astype(np.int64)
        pieces.append(np.split(rows, cuts))
    return [np.concatenate([of_class[client] for of_class in pieces]) for client in range(clients)]


def _at_least(count: int) -> str:
    return f"at least {count} image{'s' if count > 1 else ''}"
