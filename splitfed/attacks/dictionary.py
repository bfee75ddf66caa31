"""The attack on sparse fronts: from activations to codes, through the known dictionary to an image, then a refiner.

A sparse coding layer standardizes each image and writes it as few atoms of a dictionary (arXiv 2403.14772, eq. 1).
A participant knows the dictionary, so that codes are worth as much as the image; and it knows that mean and scale of
the image are lost, so that they are to be guessed by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from splitfed.attacks.auxiliary import BATCH
from splitfed.attacks.conv_decoder import ConvDecoder, ConvDecoderOptions
from splitfed.attacks.convolutional import Refiner, draw, silence
from splitfed.attacks.decoder import Decoder, new_residual
from splitfed.attacks.inverter import Target
from splitfed.attacks.linear import LinearMap
from splitfed.attacks.residual import Correction, Residual, Training
from splitfed.attacks.ridge import FrontMap, fit_by_class
from splitfed.attacks.seen import Seen
from splitfed.attacks.sparse import first_sparse_layer
from splitfed.attacks.standardization import standardized
from splitfed.errors import AttackError
from splitfed.models.sparse import SparseCodingLayer
from splitfed.types import ImageShape, Knowledge


class DictionaryOptions(ConvDecoderOptions):
    """Options of `Dictionary`."""

    max_epochs: int = Field(default=18, ge=1)
    """Per front, each dearer than the convolutional decoder's."""


@dataclass(frozen=True)
class ThroughCodes:
    """From features to the image that the first sparse layer saw, standardized; and to the moments that it did not.

    Attributes:
        layer: the front's first sparse coding layer.
        shape: of an image.
        to_codes: ridge regression on the layer's codes, (d) -> (F·h·w).
        to_standardized: ridge regression on `standardized` pixels and moments, (d) -> (p + 2), by
            class where that helps.
    """

    layer: SparseCodingLayer
    shape: ImageShape
    to_codes: LinearMap
    to_standardized: FrontMap

    def __call__(self, seen: Seen) -> Tensor:
        """To the image that the codes describe, then what ridge says directly: (B, p + p + 2)."""
        images = [self._image(self.to_codes(batch)) for batch in torch.split(seen.features, BATCH)]
        return torch.cat([torch.cat(images), self.to_standardized(seen)], dim=1)

    def _image(self, codes: Tensor) -> Tensor:
        geometry, (_, height, width) = self.layer.geometry, self.shape
        places = geometry.positions(height), geometry.positions(width)
        # codes are never negative; what a linear map makes negative was not there
        maps = codes.clamp_min(0).view(len(codes), -1, *places)
        canvas = F.conv_transpose2d(maps, self.layer.dictionary.detach(), stride=geometry.stride)
        return geometry.crop(canvas, height, width).flatten(1)


class DictionaryNetwork(Correction):
    """What to add to ridge's image to have scale · (standardized image + corrections) + mean.

    Inputs are rows: whitened features and label (B, d), what `ThroughCodes` makes of them (B, 2p + 2), ridge's image
    (B, p).
    """

    def __init__(self, dense: Residual, shape: ImageShape, *, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.dense = dense
        self.refiner = Refiner(2 * shape.channels, shape, width=dense.out.in_features, channels=channels)
        draw(self.refiner, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """To pixels as rows (B, p), to be added to ridge's image."""
        pixels = self.shape.pixels
        parts = [self.dense.first.in_features, pixels, pixels + 2, pixels]
        whitened, coded, start, ridge = torch.split(inputs, parts, dim=1)
        hidden = self.dense.hidden(whitened)
        plain, moment = torch.split(start + self.dense.out(hidden), [pixels, 2], dim=1)
        maps = torch.cat([plain, coded], dim=1).view(len(inputs), -1, *self.shape[1:])
        refined = plain + self.refiner(maps, hidden).flatten(1)
        correction: Tensor = moment[:, :1] + moment[:, 1:].exp() * refined - ridge
        return correction

    def silence(self) -> None:
        self.dense.silence()
        silence(self.refiner)


class Dictionary(ConvDecoder):
    """Ridge regression to the codes of the first sparse layer, the known dictionary, then networks that refine.

    The networks, their loss and their schedule are those of `ConvDecoder`; they work on the standardized image, and
    its mean and scale are predicted beside it.
    """

    name = "dictionary"
    about = "on sparse fronts: from activations to codes, through the known dictionary, then a learned refiner"
    needs = "a front with a sparse coding layer"
    Options = DictionaryOptions
    options: DictionaryOptions

    def applies(self, knowledge: Knowledge) -> bool:
        return first_sparse_layer(knowledge.front) is not None

    def _start(self, target: Target) -> float:
        layer = first_sparse_layer(target.knowledge.front)
        if layer is None:
            raise AttackError(f"attack {self.name}: the front has no sparse coding layer; leave this attack out")
        self._through = fit_through_codes(layer, target)
        return super()._start(target)

    def _make(self, target: Target) -> Training:
        shape = target.auxiliary.shape
        dense = new_residual(target, self.options, outputs=shape.pixels + 2)
        network = DictionaryNetwork(dense, shape, channels=self.options.channels, generator=target.generator)
        network.silence()
        return Training(network)

    def _inputs(self, seen: Seen) -> Tensor:
        return torch.cat([Decoder._inputs(self, seen), self._through(seen), self._ridge(seen)], dim=1)


def fit_through_codes(layer: SparseCodingLayer, target: Target) -> ThroughCodes:
    """The ridge regressions of `ThroughCodes`, on one draw of a randomized defense's noise."""
    fit, validation = target.fit, target.validation
    direct = fit_by_class(
        [fit.features],
        replace(fit, targets=standardized(fit.targets)),
        replace(validation, targets=standardized(validation.targets)),
        target.auxiliary.classes,
    )
    return ThroughCodes(layer, target.auxiliary.shape, _fit_codes(layer, target, direct.overall), direct)


@torch.no_grad()
def _fit_codes(layer: SparseCodingLayer, target: Target, direct: LinearMap) -> LinearMap:
    """The ridge regression on codes, batch by batch: all codes at once would take hundreds of megabytes.

    The penalty is that of the direct regression, since an image is a linear function of its codes.
    """
    images = target.fit.targets.view(-1, *target.auxiliary.shape)
    rows = direct.standardize(target.fit.features).double()
    total, cross = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for seen, batch in zip(torch.split(rows, BATCH), torch.split(images, BATCH), strict=True):
        codes = layer(batch).flatten(1).double()
        total, cross = total + codes.sum(dim=0), cross + seen.T @ codes
    covariance = rows.T @ rows / len(rows) + direct.penalty * torch.eye(rows.shape[1], dtype=torch.float64)
    # standardized features have mean zero on the fit part, so that the mean code needs no place in the product
    weight = torch.linalg.solve(covariance, cross / len(rows))
    return LinearMap(direct.standardize, weight.float(), (total / len(rows)).float(), direct.penalty)
