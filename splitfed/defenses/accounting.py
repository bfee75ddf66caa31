"""The ε of differential privacy, by Opacus' accountant (an optional dependency: the extra ``dp``)."""

from __future__ import annotations

import warnings

ORDERS = [
    1.01,
    *(1 + tenth / 10 for tenth in range(1, 100)),
    *map(float, range(11, 64)),
    80.0,
    128.0,
    256.0,
    512.0,
    1024.0,
]
"""Rényi orders to search: Opacus' own, and some beyond either end for very weak and very strong noise."""

INSTALL = "pip install 'splitfed[dp]'"
"""What to run where the accountant is missing."""


def has_accountant() -> bool:
    """Whether `epsilon` can be had: whether Opacus is installed."""
    from importlib.util import find_spec

    return find_spec("opacus") is not None


def epsilon(*, noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """The ε of (ε, δ)-differential privacy after some steps of a Poisson-sampled Gaussian mechanism.

    Two data sets are neighbors if one has a sample more than the other.

    Args:
        noise_multiplier: standard deviation of the noise over the sensitivity, above 0.
        sample_rate: chance of each sample to be in a step, in (0, 1]; at 1 nothing is left to chance.
        steps: how often the mechanism is applied.
        delta: in (0, 1).

    Raises:
        ModuleNotFoundError: Opacus is not installed.

    Source: Mironov, Talwar and Zhang 2019, "Rényi differential privacy of the sampled Gaussian mechanism", arXiv
    1908.10530, as Opacus implements it.
    """
    from opacus.accountants.analysis import rdp

    spent = rdp.compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=steps, orders=ORDERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at the first or last order ε holds all the same, it is only less tight
        found, _ = rdp.get_privacy_spent(orders=ORDERS, rdp=spent, delta=delta)
    return float(found)
