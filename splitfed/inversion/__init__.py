"""Class-level inversion: a generator's latents searched for what a classifier calls by the wanted class."""

from splitfed.inversion.options import PlugAndPlayOptions
from splitfed.inversion.oracle import Access, BudgetExhausted, Oracle
from splitfed.inversion.plug_and_play import invert
from splitfed.inversion.searched import ClassFindings, ClassInversion, InversionMoment

__all__ = [
    "Access",
    "BudgetExhausted",
    "ClassFindings",
    "ClassInversion",
    "InversionMoment",
    "Oracle",
    "PlugAndPlayOptions",
    "invert",
]
