"""Between a module's weights and what Flower carries."""

from __future__ import annotations

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import nn

from splitfed.files import one_reader


def to_arrays(module: nn.Module) -> ArrayRecord:
    """All parameters and buffers of `module`, by name."""
    return ArrayRecord({name: Array(value.detach().cpu().numpy()) for name, value in module.state_dict().items()})


def load_arrays(module: nn.Module, arrays: ArrayRecord) -> None:
    """Load what `to_arrays` made.

    An average turns integer buffers (BatchNorm's batch counter) into floats; each array is cast back to the
    dtype that the module declares.
    """
    own = module.state_dict()
    with one_reader:
        read = {name: np.array(value.numpy()) for name, value in arrays.items()}
    module.load_state_dict({name: torch.from_numpy(value).to(own[name].dtype) for name, value in read.items()})
