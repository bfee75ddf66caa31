"""Compiles the solver before it is needed: `python -m splitfed.models.sparse.ahead`.

What is compiled is kept on disk where there is a place for it (`compiled`), for the processor that it was compiled on;
the image of a container is built with it, so that no container spends its first minute on that.
"""

from __future__ import annotations

import torch

from splitfed.models.sparse.layer import SparseCodingLayer

IMAGES, EDGE_PX, ATOMS = 2, 12, 16


def compile_ahead() -> None:
    """Take one step of two layers, forward, back and of the dictionaries; one is enough for images of any size."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((IMAGES, 1, EDGE_PX, EDGE_PX), generator=generator)
    for _ in range(2):
        layer = SparseCodingLayer(x.shape[1], ATOMS, l1_weight=0.1, generator=generator)
        codes = layer(x.detach().requires_grad_())
        codes.sum().backward()
        layer.update_dictionary(x.detach(), codes.detach(), rate=1.0)
        x = codes


if __name__ == "__main__":
    compile_ahead()
