"""What is compiled ahead is all that a training step of any shape and stride needs."""

from __future__ import annotations

import pytest
import torch

from splitfed.models.sparse import adjoint_kernels, descent_kernels, image_kernels
from splitfed.models.sparse.ahead import compile_ahead
from splitfed.models.sparse.layer import SparseCodingLayer


def signatures() -> dict[str, set[str]]:
    """Of each compiled function, the types that it was compiled for."""
    found = {}
    for module in (adjoint_kernels, descent_kernels, image_kernels):
        for name, function in vars(module).items():
            if hasattr(function, "signatures"):
                found[f"{module.__name__}.{name}"] = {str(types) for types in function.signatures}
    return found


@pytest.mark.parametrize(("channels", "edge_px", "stride"), [(3, 17, 2), (1, 28, 1)])
def test_a_step_compiles_nothing_more(channels: int, edge_px: int, stride: int) -> None:
    compile_ahead()
    before = signatures()
    assert len(before) > 10
    x = torch.rand((3, channels, edge_px, edge_px), requires_grad=True)
    layer = SparseCodingLayer(channels, 5, kernel_size=3, stride=stride)
    codes = layer(x)
    codes.square().sum().backward()
    layer.update_dictionary(x.detach(), codes.detach(), rate=0.2)
    assert signatures() == before
