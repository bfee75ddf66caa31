"""The live view in a browser: how soon it is there, what it costs a run, and what it makes of large runs."""

from splitfed.bench.web.command import main

__all__ = ["main"]
