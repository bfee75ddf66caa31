"""How many threads the work of one cell takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Clients and server sessions are threads of their own; more within each would only compete.

    It also makes results independent of the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    try:
        yield
    finally:
        torch.set_num_threads(before)
