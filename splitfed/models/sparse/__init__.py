"""Sparse coding as a layer: each image becomes the few atoms of a dictionary that rebuild it.

`SparseCodingLayer` finds the code R ≥ 0 that minimizes ½‖X − R ⊛ Ω‖² + λ‖R‖₁ (arXiv 2403.14772, eq. 1), says how
far from the minimum it stopped, and has the minimum's own gradient. docs/sparse_coding.md has the mathematics.
"""

from splitfed.models.sparse.layer import SolveReport, SparseCodingLayer
from splitfed.models.sparse.learning import learn_dictionary

__all__ = ["SolveReport", "SparseCodingLayer", "learn_dictionary"]
