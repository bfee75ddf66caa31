"""A laboratory for privacy in federated split learning.

>>> import splitfed
>>> scenario = splitfed.load("medmnist_split")        # doctest: +SKIP
>>> run = splitfed.run(scenario)                      # doctest: +SKIP
>>> print(run.table())                                # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from splitfed.attacks.base import Attack
    from splitfed.config.load import load
    from splitfed.config.scenario import Scenario
    from splitfed.data.dataset import Dataset
    from splitfed.data.source import DatasetSource
    from splitfed.defenses.base import Defense
    from splitfed.errors import (
        AttackError,
        CorruptFrame,
        DataError,
        FrameError,
        LinkLost,
        PluginError,
        Refused,
        ScenarioError,
        SplitfedError,
        TrainingFailed,
        UnfinishedError,
        UserError,
        WireError,
    )
    from splitfed.records.bus import Subscriber
    from splitfed.views.run import Run

__version__ = "0.2.0"
__all__ = [
    "Attack",
    "AttackError",
    "CorruptFrame",
    "DataError",
    "Dataset",
    "DatasetSource",
    "Defense",
    "FrameError",
    "LinkLost",
    "PluginError",
    "Refused",
    "Run",
    "Scenario",
    "ScenarioError",
    "SplitfedError",
    "TrainingFailed",
    "UnfinishedError",
    "UserError",
    "WireError",
    "load",
    "run",
]

_ELSEWHERE = {
    "Attack": "splitfed.attacks.base",
    "Dataset": "splitfed.data.dataset",
    "DatasetSource": "splitfed.data.source",
    "Defense": "splitfed.defenses.base",
    "Run": "splitfed.views.run",
    "Scenario": "splitfed.config.scenario",
    "load": "splitfed.config.load",
}
"""By name the module that has it; whatever else is exported is an error."""


def run(
    scenario: Scenario,
    *,
    out: str | Path = "runs",
    data_root: str | Path | None = None,
    resume: str | Path | None = None,
    jobs: int = 1,
    runner: str = "local",
    superlink: str | None = None,
    certs: str | Path | None = None,
    share: bool = False,
    subscribers: Sequence[Subscriber] = (),
) -> Run:
    """Run a scenario, or go on with one.

    Args:
        scenario: what to run; a resumed run must have been started with the same one.
        out: where the run directory is made.
        data_root: where to look for data sets first.
        resume: the directory of a run to go on with; its finished cells are kept.
        jobs: cells at a time, each in a process of its own where there are several.
        runner: ``local``; ``deploy`` for a federation of processes; or ``ray``: the clients of a cell take turns in Ray
            actors on this machine, and with several jobs cells are spread over a Ray cluster.
        superlink: ``host:port`` of a federation that runs already, for ``deploy``; else one is started on this machine.
        certs: the lab's own folder of what ``splitfed certs`` made, where that federation is under TLS.
        share: whether others may read the run, as far as this user's umask lets them. It holds private images: else it
            is this user's alone. One that is resumed stays as open as it is.
        subscribers: called with every event (`splitfed.records.events`).

    A cell that cannot be trained with its settings is INVALID, one that fails otherwise is left out; the others run
    all the same.

    Raises:
        UserError: data that cannot be found or shared, a run that cannot be resumed or that another process runs, a
            place that cannot be written, or no Ray; or a cell that waits for the user.
        UnfinishedError: a cell that failed for a reason that may not come again.
        RuntimeError: a cell that met a bug.
    """
    from splitfed.experiment.run import run as conduct
    from splitfed.views.run import Run

    store = conduct(
        scenario,
        out=out,
        data_root=data_root,
        resume=resume,
        jobs=jobs,
        runner=runner,
        superlink=superlink,
        certs=certs,
        share=share,
        subscribers=subscribers,
    )
    return Run(store.path)


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import splitfed` and `splitfed --help` stay fast."""
    if name not in __all__:
        raise AttributeError(f"module 'splitfed' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_ELSEWHERE.get(name, "splitfed.errors")), name)
    return found


def __dir__() -> list[str]:
    """What is there, what was not asked for yet included."""
    return sorted({*globals(), *__all__})
