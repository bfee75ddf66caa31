"""Faults of every kind, at points drawn from a seed; what comes of each is computed beforehand, and compared."""

from splitfed.bench.faults.command import main

__all__ = ["main"]
