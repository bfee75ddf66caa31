"""Images in [0, 1] with labels, in de-duplicated splits, partitioned over clients (DESIGN, section 8).

>>> from splitfed.data import load, split
>>> digits = load("digits")
>>> parts = split(digits, train=600, aux=600, test=300, seed=0)
>>> len(parts.train), parts.train.shape
(600, ImageShape(channels=1, height=8, width=8))
"""

from __future__ import annotations

from splitfed.data.dataset import Dataset
from splitfed.data.partition import partition
from splitfed.data.registry import DATASETS, check_name, describe, fetch, load, sources
from splitfed.data.source import DatasetSource, Decoded, Found, Request, Selection, Unavailable
from splitfed.data.splits import Splits, split

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetSource",
    "Decoded",
    "Found",
    "Request",
    "Selection",
    "Splits",
    "Unavailable",
    "check_name",
    "describe",
    "fetch",
    "load",
    "partition",
    "sources",
    "split",
]
