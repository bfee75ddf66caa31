"""What a defense measured of itself: the material of the gate `defense_acts`.

A defense compares what the tap saw with what the bare front gives and states a `Finding`; these are the
measurements that several defenses share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Finding(NamedTuple):
    """One measurement against what the defense states: whether it acts as stated, and the figures of both."""

    acts: bool
    detail: str


def laplace_scale(noise: Tensor) -> float:
    """The scale b of centered Laplace noise: the mean of |noise| (its maximum-likelihood estimate)."""
    return float(noise.double().abs().mean())


def gaussian_scale(noise: Tensor) -> float:
    """The scale σ of centered Gaussian noise: the root mean square (its maximum-likelihood estimate)."""
    return float(noise.double().square().mean().sqrt())


def noise_scale_within(measured: float, stated: float, *, tolerance: float = 0.05) -> Finding:
    """Whether noise measured at the tap has the stated scale, to a relative ``tolerance``."""
    acts = abs(measured - stated) <= tolerance * stated
    return Finding(acts, f"noise scale {measured:.4g} measured, {stated:.4g} stated (± {tolerance:.0%})")


def density(code: Tensor) -> float:
    """The share of non-zero numbers in a code, in [0, 1]."""
    return int(torch.count_nonzero(code)) / max(code.numel(), 1)


def density_within(code: Tensor, *, low: float, high: float) -> Finding:
    """Whether the share of non-zero numbers lies in [``low``, ``high``]."""
    share = density(code)
    return Finding(low <= share <= high, f"{share:.4f} of the code is non-zero, [{low:g}, {high:g}] wanted")


def regularizer_acts(measures: Sequence[Mapping[str, float]]) -> Finding:
    """Whether the extra loss term moved every client's front: its gradient had a norm above 0."""
    norms = [figures.get("penalty_gradient_norm", 0.0) for figures in measures]
    listed = ", ".join(f"{norm:.3g}" for norm in norms) or "nothing measured"
    acts = bool(norms) and all(norm > 0 for norm in norms)
    return Finding(acts, f"gradient norm of the extra term per client: {listed}")


def is_identity(protected: Tensor, plain: Tensor) -> Finding:
    """Whether a defense that claims to do nothing sent the bare activations, bit for bit."""
    if torch.equal(protected, plain):
        return Finding(True, "activations leave the client unchanged")
    return Finding(False, "activations differ from those of the bare front")
