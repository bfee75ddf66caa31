"""A laboratory for privacy in federated split learning.

>>> import splitfed
>>> scenario = splitfed.load("medmnist_split")        # doctest: +SKIP
>>> results = splitfed.run(scenario)                  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Scenario", "load", "run"]

if TYPE_CHECKING:
    from splitfed.config.load import load
    from splitfed.config.scenario import Scenario
    from splitfed.experiment.run import run


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import splitfed` and `splitfed --help` stay fast."""
    if name == "run":
        from splitfed.experiment.run import run

        return run
    if name == "Scenario":
        from splitfed.config.scenario import Scenario

        return Scenario
    if name == "load":
        from splitfed.config.load import load

        return load
    raise AttributeError(f"module 'splitfed' has no attribute {name!r}")
