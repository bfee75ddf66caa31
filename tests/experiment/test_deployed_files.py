"""What a server tells the lab of a cell lies where it would lie had the lab mounted the attacker itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.deployed import _Following
from splitfed.experiment.images import no_images
from splitfed.federation.job import Job
from splitfed.records.bus import Bus
from splitfed.records.events import EVENTS, Notice
from splitfed.records.store import RunStore
from splitfed.roles.lab_node import Told
from splitfed.roles.lab_protocol import Happened
from tests.views.fabricated import manifest

FILES = {
    "attack/ridge.npz": b"reconstructions",
    "observations/audit.000003.obs": b"activations",
    "attack/../../../elsewhere": b"stray",
    "result.pt": b"weights",
}
NEWS = Happened(event=EVENTS.write(Notice(message="a")).decode())


def told(job: Job, folder: Path) -> tuple[list[str], dict[str, bytes]]:
    """The files that are kept of a Message, and those that are left for who looks for them."""
    store = RunStore.create(folder, "small", manifest())
    run = RunContext(job.scenario, store, Bus(), *no_images(job.scenario))
    cell = store.cell_dir(job.cell.name)
    files = dict(FILES)
    following = _Following(CellContext(run, job.cell, job, (), cell), lambda _: None)
    following._take(Told(NEWS, files))
    return sorted(str(path.relative_to(cell)) for path in cell.rglob("*") if path.is_file()), files


def test_files_are_kept_with_whatever_news_they_come(job_of: Callable[..., Job], tmp_path: Path) -> None:
    kept, left = told(job_of(), tmp_path)
    assert kept == ["attack/ridge.npz", "observations/audit.000003.obs"]
    assert left.keys() == {"attack/../../../elsewhere", "result.pt"}
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["digits", "clients"])
def test_a_lab_that_is_to_see_no_images_keeps_none_that_it_is_sent(
    job_of: Callable[..., Job], tmp_path: Path, name: str
) -> None:
    kept, _ = told(job_of(truth="clients", data={"name": name}), tmp_path)
    assert kept == []
