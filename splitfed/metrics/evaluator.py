"""The evaluation model: who says whether an image that an attack found is of the wanted class.

The classifier that was attacked cannot say so: what fools it looks good to it. The evaluation model is another
architecture from another seed, trained on images that neither the victims nor the attacker have, and nobody asks it
while the attack goes on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.errors import DataError
from splitfed.types import Images, ImageShape

CHANNELS = (24, 48, 96)
"""Of its convolutions; each halves the edges."""
BATCH = 64
LEARNING_RATE = 2e-3
VALIDATION_EVERY = 5
"""One image in so many is for its accuracy."""
FEWEST_IMAGES = 50
QUERY_BATCH = 512


class EvaluationNetwork(nn.Sequential):
    """Three strided convolutions with batch norm, and a linear layer on what is left of the image.

    The victims' networks are linear layers, with sparse codes before them in some defenses: what fools one such network
    fools this one less.
    """

    def __init__(self, shape: ImageShape, classes: int) -> None:
        layers: list[nn.Module] = []
        channels, height, width = shape
        for wider in CHANNELS:
            layers += [nn.Conv2d(channels, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
            channels, height, width = wider, -(-height // 2), -(-width // 2)
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))


class Evaluator:
    """A trained evaluation model, which counts what it is asked.

    Attributes:
        accuracy: on images of its own that it was not trained on, in [0, 1].
        accuracies: the same by class.
        images: what it was trained on and judged by: nobody else's.
        asked: images it was asked about since; to be 0 while an attack goes on.
    """

    def __init__(self, network: nn.Module, images: Images, validation: Images) -> None:
        self._network = network.eval().requires_grad_(False)
        self.images = images
        right = self._probabilities(validation.pixels).argmax(dim=1) == validation.labels
        self.accuracy = float(right.double().mean())
        self.accuracies = tuple(_mean(right[validation.labels == label]) for label in range(len(images.classes)))
        self.asked = 0

    def probabilities(self, pixels: Tensor) -> Tensor:
        """What it says of images (B, C, H, W) in [0, 1]: float32, (B, K)."""
        self.asked += len(pixels)
        return self._probabilities(pixels)

    @torch.no_grad()
    def _probabilities(self, pixels: Tensor) -> Tensor:
        scores = [self._network(2 * batch - 1) for batch in torch.split(pixels, QUERY_BATCH)]
        return torch.cat(scores).softmax(dim=1)


def train_evaluator(images: Images, *, epochs: int, draws: torch.Generator) -> Evaluator:
    """Train an evaluation model; four images in five teach it, the fifth says how good it is.

    The same images and draws give the same weights, bit for bit, with one thread.

    Args:
        images: of the victims' classes, but nobody else's images.
        epochs: passes over them; the learning rate falls to zero along a cosine.
        draws: of weights, order, and who is fifth.

    Raises:
        DataError: fewer than `FEWEST_IMAGES`, or a class without images.
    """
    if len(images) < FEWEST_IMAGES:
        raise DataError(f"{len(images)} images for the evaluation model; it needs at least {FEWEST_IMAGES}")
    missing = [name for label, name in enumerate(images.classes) if not bool((images.labels == label).any())]
    if missing:
        raise DataError(f"no image of class {missing[0]!r} for the evaluation model; hold out more images")
    order = torch.randperm(len(images), generator=draws)
    held = len(images) // VALIDATION_EVERY
    network = EvaluationNetwork(images.shape, len(images.classes))
    _initialize(network, draws)
    _train(network, images[order[held:]], epochs, draws)
    return Evaluator(network, images, images[order[:held]])


@torch.enable_grad()
def _train(network: nn.Module, images: Images, epochs: int, draws: torch.Generator) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs))
    network.train()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(images), generator=draws), BATCH):
            if len(rows) > 1:  # one image has no statistics for a batch norm
                loss = F.cross_entropy(network(2 * images.pixels[rows] - 1), images.labels[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        schedule.step()


@torch.no_grad()
def _initialize(network: nn.Module, draws: torch.Generator) -> None:
    """He et al. 2015: Gaussian with variance 2 / fan-in; biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=draws)
            if layer.bias is not None:
                layer.bias.zero_()


def _mean(right: Tensor) -> float | None:
    """The share; None where no validation image is of the class."""
    return float(right.double().mean()) if len(right) else None
