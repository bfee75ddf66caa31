"""Network files as NVIDIA's code writes them, by code of our own: small, with weights from a formula.

The structure is that of a pickle of a persistent class: a call of ``_reconstruct_persistent_obj`` in
``torch_utils.persistence`` with a dict that holds the class's name, the source of its module, and the object's
attributes.
"""

from __future__ import annotations

import math
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SOURCE = "raise SystemExit('the source in the file was run')\n"
PERSISTENCE = ModuleType("torch_utils.persistence")
UTIL = ModuleType("dnnlib.util")


def _reconstruct_persistent_obj(meta: object) -> object:
    raise AssertionError(f"the original loader was called: {meta}")


class EasyDict(dict[str, Any]):
    """Named as NVIDIA's is, so that it is pickled under that name."""


for _piece, _module in ((_reconstruct_persistent_obj, PERSISTENCE), (EasyDict, UTIL)):
    _piece.__module__, _piece.__qualname__ = _module.__name__, _piece.__name__
    setattr(_module, _piece.__name__, _piece)


@contextmanager
def _named_modules() -> Iterator[None]:
    """A pickle names functions by modules, and its writer looks them up there."""
    parents = (ModuleType("torch_utils"), ModuleType("dnnlib"))
    modules = {module.__name__: module for module in (*parents, PERSISTENCE, UTIL)}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


class Written:
    """A module to be written. Its attributes are those that NVIDIA's has."""

    def __init__(self, class_name: str, name: str, source: str = SOURCE, **attributes: Any) -> None:
        self.class_name, self.name, self.source, self.attributes = class_name, name, source, attributes
        self.parameters: dict[str, nn.Parameter | None] = {}
        self.buffers: dict[str, Tensor | None] = {}
        self.modules: OrderedDict[str, Written] = OrderedDict()

    def __reduce__(self) -> tuple[object, tuple[object]]:
        state = {
            "training": False,
            "_parameters": OrderedDict(self.parameters),
            "_buffers": OrderedDict(self.buffers),
            "_non_persistent_buffers_set": set(),
            "_modules": self.modules,
            **self.attributes,
            "_init_args": (),
            "_init_kwargs": EasyDict(some="thing"),
        }
        meta = {
            "type": "class", "version": 6, "module_src": self.source, "class_name": self.class_name, "state": state
        }  # fmt: skip
        return _reconstruct_persistent_obj, (meta,)

    def weight(self, name: str, *shape: int) -> None:
        """A parameter."""
        self.parameters[name] = nn.Parameter(formula(f"{self.name}.{name}", shape))

    def buffer(self, name: str, *shape: int) -> None:
        self.buffers[name] = formula(f"{self.name}.{name}", shape)

    def module(self, name: str, class_name: str, **attributes: Any) -> Written:
        made = Written(class_name, f"{self.name}.{name}" if self.name else name, self.source, **attributes)
        self.modules[name] = made
        return made

    def linear(self, name: str, inputs: int, outputs: int, activation: str = "linear", rate: float = 1.0) -> None:
        gains = {"weight_gain": np.float64(rate / math.sqrt(inputs)), "bias_gain": rate}
        made = self.module(name, "FullyConnectedLayer", activation=activation, **gains)
        made.weight("weight", outputs, inputs)
        made.weight("bias", outputs)


def formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers for a tensor of this name, the same for whoever makes them."""
    constants = {"magnitude_ema": torch.tensor(1.3), "noise_strength": torch.tensor(0.1), "transform": torch.eye(3)}
    last = name.rpartition(".")[2]
    if last in constants:
        return constants[last]
    places = torch.arange(math.prod(shape), dtype=torch.float64)
    wave = torch.sin(0.7 * places + 0.013 * places**2 + sum(name.encode()) % 100).float().reshape(shape)
    if name.startswith("mapping.fc"):
        return 100 * wave
    if last == "freqs":
        return 4 * wave
    if last.endswith("filter"):
        return (1 + wave) / (1 + wave).sum()
    if name.endswith("affine.bias"):
        return 1 + 0.1 * wave
    return 0.1 * wave if last in ("bias", "w_avg") else wave


def _generator(z: int, w: int, classes: int, channels: int, edge: int, source: str) -> Written:
    made = Written("Generator", "", source, z_dim=z, c_dim=classes, w_dim=w, img_resolution=edge, img_channels=channels)
    mapping = made.module("mapping", "MappingNetwork", z_dim=z, c_dim=classes, w_dim=w, num_layers=2, w_avg_beta=0.995)
    if classes:
        mapping.linear("embed", classes, w)
    mapping.linear("fc0", z + (w if classes else 0), w, "lrelu", 0.01)
    mapping.linear("fc1", w, w, "lrelu", 0.01)
    mapping.buffer("w_avg", w)
    return made


def stylegan2(
    architecture: str, *, channels: int, classes: int, clamp: float | None, edge: int = 8, source: str = SOURCE
) -> Written:
    """A StyleGAN2 of edges 4 to ``edge`` with four features everywhere, w of five numbers from z of six."""
    made = _generator(6, 5, classes, channels, edge, source)
    edges = [4 << step for step in range(edge.bit_length() - 2)]
    synthesis = made.module(
        "synthesis", "SynthesisNetwork", img_resolution=edge, img_channels=channels, block_resolutions=edges
    )
    for here in edges:
        block = synthesis.module(f"b{here}", "SynthesisBlock", architecture=architecture, resolution=here)
        block.buffer("resample_filter", 4, 4)
        if here == 4:
            block.weight("const", 4, 4, 4)
        for name, up in (("conv0", 2), ("conv1", 1)):
            if name == "conv1" or here > 4:
                layer = {"up": up, "use_noise": True, "activation": "lrelu", "conv_clamp": clamp}
                conv = block.module(name, "SynthesisLayer", **layer)
                conv.linear("affine", 5, 4)
                conv.weight("weight", 4, 4, 3, 3)
                conv.weight("noise_strength")
                conv.weight("bias", 4)
                conv.buffer("resample_filter", 4, 4)
                conv.buffer("noise_const", here, here)
        if architecture == "skip" or here == edge:
            last = block.module("torgb", "ToRGBLayer", conv_clamp=clamp, weight_gain=np.float64(0.5))
            last.linear("affine", 5, 4)
            last.weight("weight", channels, 4, 1, 1)
            last.weight("bias", channels)
        if architecture == "resnet" and here > 4:
            beside = block.module("skip", "Conv2dLayer", weight_gain=np.float64(0.5), up=2)
            beside.weight("weight", 4, 4, 1, 1)
            beside.buffer("resample_filter", 4, 4)
    return made


def stylegan3(*, channels: int, kernel: int, radial: bool) -> Written:
    """A StyleGAN3 of 16×16 pixels: four filtered layers on 22×22 and 16×16 pixels, and one to the image.

    Factors, margins, and numbers of taps are those that NVIDIA's code works out for four layers, two of them critically
    sampled, and three pixels of margin.
    """
    made = _generator(6, 5, 0, channels, 16, SOURCE)
    names = [f"L{number}_{edge}_4" for number, edge in enumerate((22, 22, 22, 16))] + [f"L4_16_{channels}"]
    synthesis = made.module(
        "synthesis", "SynthesisNetwork", img_resolution=16, img_channels=channels, layer_names=names, output_scale=25
    )
    start = synthesis.module(
        "input", "SynthesisInput", size=np.array([22, 22]), sampling_rate=np.float64(16), bandwidth=np.float64(2)
    )
    start.linear("affine", 5, 4)
    start.weight("weight", 4, 4)
    start.buffer("transform", 3, 3)
    start.buffer("freqs", 4, 2)
    start.buffer("phases", 4)
    for number, name in enumerate(names):
        last, edge = number == 4, int(name.split("_")[1])
        wide, narrow = (9, 3) if kernel == 3 else (11, 5)
        margin = 0 if last else wide if edge == 22 else narrow
        factor = 1 if last else 2
        margins = [margin, max(margin - 1, 0)] * 2
        layer = synthesis.module(
            name,
            "SynthesisLayer",
            is_torgb=last,
            up_factor=factor,
            down_factor=factor,
            padding=margins,
            conv_clamp=256,
            use_fp16=np.bool_(True),
        )
        outputs, size = (channels, 1) if last else (4, kernel)
        layer.linear("affine", 5, 4)
        layer.weight("weight", outputs, 4, size, size)
        layer.weight("bias", outputs)
        layer.buffer("magnitude_ema")
        if last:
            layer.buffers.update(up_filter=None, down_filter=None)
        else:
            layer.buffer("up_filter", 12)
            layer.buffer("down_filter", *((12, 12) if radial and number < 2 else (12,)))
    return made


def write(path: Path, generator: object, **more: object) -> Path:
    """A file with this generator, as a snapshot of a training has it."""
    content: Mapping[str, object] = {
        "G": generator,
        "D": None,
        "G_ema": generator,
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", path="/images"),
        **more,
    }
    with _named_modules(), path.open("wb") as file:
        pickle.dump(content, file)
    return path
