"""Fronts that end in a bottleneck instead of a ReLU: what leaves the client may be negative."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.models.front import Front
from splitfed.models.sparse_front import SparseStemFront


class GaussianBottleneckFront(Front):
    """A front whose last linear layer gives the mean and the log-variance of a Gaussian per number.

    Args:
        front: gives its stem and its layers, which end in a linear layer and a ReLU.
        width: of its output.
        added: whether that is a layer behind the front's own, Linear(width, 2·width); else it stands in place of the
            front's last one and of its ReLU.
    """

    nonnegative = False

    def __init__(self, front: Front, width: int, *, added: bool = True) -> None:
        *layers, last, relu = front.body.children()
        assert isinstance(last, nn.Linear)
        gaussian = nn.Linear(width, 2 * width) if added else nn.Linear(last.in_features, 2 * width)
        super().__init__(front.stem, nn.Sequential(*layers, *([last, relu] if added else []), gaussian))


class UnitNorm(nn.Module):
    """Each sample's vector scaled to L2 norm 1, (B, d) -> (B, d); a vector of zeros stays one."""

    def forward(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=1)


class UnitBottleneckFront(SparseStemFront):
    """A sparse front, then Linear(width, dimensions) and a scaling to unit norm: a point on the sphere.

    Args:
        front: gives its stem and its layers.
        width: of its output.
        dimensions: of the sphere's space.
    """

    nonnegative = False
    expensive = True

    def __init__(self, front: SparseStemFront, width: int, dimensions: int) -> None:
        super().__init__(front.stem, nn.Sequential(*front.body.children(), nn.Linear(width, dimensions), UnitNorm()))
