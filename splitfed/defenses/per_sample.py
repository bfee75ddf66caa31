"""The gradient of each sample by itself, for networks of linear layers, without ever holding them all.

A linear layer's gradient for one sample is an outer product dᵀa of the gradient d at its output and its input a. So
norms and weighted sums follow from the factors (Goodfellow 2015, "Efficient per-example gradient computations", arXiv
1510.01799; Bu et al. 2022, "Scalable and efficient training of large convolutional neural networks with differential
privacy", arXiv 2205.10683): B times less memory than one gradient per sample, and as fast as a plain backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitfed.errors import UserError

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Tanh,
    nn.Sigmoid,
)
"""Layers without parameters, of which one sample's output is a function of that sample alone."""


@dataclass(frozen=True)
class _Factors:
    """A linear layer's inputs (B, T, in) and the gradients at its outputs (B, T, out); T positions share the layer."""

    layer: nn.Linear
    inputs: Tensor
    errors: Tensor

    def norms_squared(self) -> Tensor:
        """Of each sample's gradient with respect to weight and bias together: (B,)."""
        inputs_gram, errors_gram = (x @ x.transpose(1, 2) for x in (self.inputs, self.errors))
        squared = (inputs_gram * errors_gram).sum(dim=(1, 2))
        if self.layer.bias is not None:
            squared = squared + errors_gram.sum(dim=(1, 2))
        return squared.clamp_min(0)

    def weighted_sum(self, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The layer's parameters, each with the sum over samples of its gradient times the sample's weight."""
        errors = (self.errors * weights[:, None, None]).flatten(0, 1)
        yield self.layer.weight, errors.T @ self.inputs.flatten(0, 1)
        if self.layer.bias is not None:
            yield self.layer.bias, errors.sum(dim=0)


class PerSampleGradients:
    """The gradients of every sample's own loss with respect to a module's parameters.

    Args:
        module: Linear layers, each used once, and element-wise activations in any containers.
        inputs: (B, ...).
        gradient: (B, ...), of sample i's loss with respect to row i of the module's output.

    Raises:
        UserError: the module holds a layer that mixes samples, or one that is unknown here.
    """

    def __init__(self, module: nn.Module, inputs: Tensor, gradient: Tensor) -> None:
        _check(module)
        self._factors = _factors(module, inputs, gradient)

    def norms(self) -> Tensor:
        """Euclidean norm of each sample's gradient over all parameters: (B,)."""
        return torch.stack([factors.norms_squared() for factors in self._factors]).sum(dim=0).sqrt()

    def weighted_sum(self, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Every parameter with Σ_i weights_i · gradient_i, of its own shape."""
        for factors in self._factors:
            yield from factors.weighted_sum(weights)


def _factors(module: nn.Module, inputs: Tensor, gradient: Tensor) -> list[_Factors]:
    """Another forward pass, in which every linear layer's input and output are kept, and the gradients back to them."""
    seen: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        seen.append((layer, arguments[0].detach(), output))

    hooks = [layer.register_forward_hook(keep) for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        output = module(inputs.detach())
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != len(hooks):
        raise UserError(f"{_NEEDS}; here one of {len(hooks)} linear layers is used more than once, or never")
    errors = torch.autograd.grad(output, [at_output for _, _, at_output in seen], gradient)
    return [_Factors(layer, _positions(a), _positions(d)) for (layer, a, _), d in zip(seen, errors, strict=True)]


def _positions(x: Tensor) -> Tensor:
    """(B, d) or (B, ..., d) as (B, T, d)."""
    return x.reshape(len(x), -1, x.shape[-1])


_NEEDS = "gradients per sample need linear layers, each used once and all of it trained, and element-wise activations"


def _check(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        where = f"{name or 'the module'} is {type(layer).__name__}"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UserError(f"{where}, which mixes the samples of a batch; {_NEEDS}: take a network without it")
        if not _is_known(layer):
            raise UserError(f"{where}; {_NEEDS}: take a network of those")


def _is_known(layer: nn.Module) -> bool:
    """By exact type: a subclass may do anything. Of a container the children count, if it has no parameters itself."""
    own = list(layer.parameters(recurse=False))
    if type(layer) is nn.Linear:
        return all(parameter.requires_grad for parameter in own)
    return type(layer) in ELEMENTWISE or (any(layer.children()) and not own)
