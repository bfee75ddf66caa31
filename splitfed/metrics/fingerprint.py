"""A hash of weights, to show that they moved or that they did not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def fingerprint(weights: Mapping[str, Tensor] | Iterable[Tensor]) -> str:
    """A hash of the bits, shapes and dtypes of these tensors in their order (a mapping's names count too).

    Two sets of weights have one fingerprint only if they are bit-identical.
    """
    digest = hashlib.blake2b(digest_size=16)
    named = weights.items() if isinstance(weights, Mapping) else enumerate(weights)
    for name, tensor in named:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
