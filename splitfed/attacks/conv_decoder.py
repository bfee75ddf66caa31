"""The second trained attack: another architecture, so that a defense is not judged by one network's habits."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.convolutional import ConvolutionalResidual
from splitfed.attacks.decoder import Decoder, DecoderOptions, new_residual
from splitfed.attacks.inverter import Target
from splitfed.attacks.residual import Training
from splitfed.attacks.seen import Seen


class ConvDecoderOptions(DecoderOptions):
    """Options of `ConvDecoder`."""

    width: int = Field(default=256, ge=1)
    """Of the residual path."""
    channels: int = Field(default=16, ge=1)
    """Maps of the U-Net at half the resolution; twice as many below."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Of Adam, anew with each front. At 1e-3, 30 epochs without a defense end 0.005 of SSIM lower."""
    max_epochs: int = Field(default=24, ge=1)
    """Per front. A training without a plateau by then ends with the learning rate at zero, and says so."""


class ConvDecoder(Decoder):
    """The decoder with a U-Net behind its residual network; loss, schedule, noise and start are the decoder's."""

    name = "conv_decoder"
    about = "starts at ridge, then a residual and a convolutional network trained to a plateau"
    Options = ConvDecoderOptions
    options: ConvDecoderOptions

    def _make(self, target: Target) -> Training:
        shape = target.auxiliary.shape
        dense = new_residual(target, self.options, outputs=shape.pixels)
        network = ConvolutionalResidual(dense, shape, channels=self.options.channels, generator=target.generator)
        network.silence()
        return Training(network)

    def _inputs(self, seen: Seen) -> Tensor:
        return torch.cat([super()._inputs(seen), self._ridge(seen)], dim=1)
