"""Where the lab has no images, what a network must fit is what the clients say that they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from splitfed.config.scenario import Scenario
from splitfed.data.locations import DATA_VARIABLE
from splitfed.errors import DataError, ScenarioError, SplitfedError
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.roster import ANY, CLIENT, NO_SHAPE, Introduction, JoinedNodes
from splitfed.files import CACHE_VARIABLE
from splitfed.roles.agreement import agreed
from splitfed.roles.client import HeldImages
from splitfed.roles.config import ClientOptions, OwnImages
from splitfed.roles.order import Order
from splitfed.runners.local_grid import LocalGrid

JobOf = Callable[..., Job]
ScenarioOf = Callable[..., Scenario]


def holds(classes: int, *shape: int) -> Introduction:
    return Introduction(CLIENT, 0, 8, "", classes, *shape)


def folder(path: Path, classes: tuple[str, ...], edge: int, images: int = 12) -> Path:
    """Gray pictures in a folder for each class, no two alike."""
    rng = np.random.default_rng(len(classes) + edge)
    for name in classes:
        (path / name).mkdir(parents=True)
        for number in range(images):
            Image.fromarray(rng.integers(0, 256, (edge, edge), np.uint8)).save(path / name / f"{number}.png")
    return path


def joined(job: Job, held: list[HeldImages], notices: list[str] | None = None) -> JoinedNodes:
    """A roster that has asked clients with these images who they are, before anyone knows what they hold."""
    roster = JoinedNodes(len(held), patience_s=1, notice=(notices if notices is not None else []).append)
    app = build_client_app(lambda job, number: held[number](job, number))
    with LocalGrid(app, len(held)) as grid:
        roster.refresh(grid, replace(job, shape=NO_SHAPE, classes=0).to_config([]))
    return roster


def test_what_all_hold_alike_is_agreed() -> None:
    assert agreed({0: holds(6, 1, 28, 28), 1: holds(6, 1, 28, 28)}) == ((1, 28, 28), 6)


@pytest.mark.parametrize("other", [holds(5, 1, 28, 28), holds(6, 3, 28, 28), holds(6, 1, 32, 32)])
def test_a_client_whose_images_do_not_fit_is_named_with_what_it_holds(other: Introduction) -> None:
    with pytest.raises(SplitfedError, match="do not fit together: client 0 1×28×28, 6 classes; client 2 ") as refusal:
        agreed({0: holds(6, 1, 28, 28), 2: other})
    assert f"{other.channels}×{other.height}×{other.width}, {other.classes} classes" in str(refusal.value)


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(SplitfedError, match="want images of at least 2 classes: client 0 1×28×28, 1 classes"):
        agreed({0: holds(1, 1, 28, 28)})


def test_clients_with_shares_say_what_theirs_are_like(job_of: JobOf) -> None:
    job = job_of(truth="clients", federation={"clients": 2})
    roster = joined(job, [HeldImages(ClientOptions(client=number)) for number in range(2)])
    assert agreed(roster.said) == (job.shape, job.classes)
    assert roster.images == {0: 240, 1: 240}


def test_clients_with_folders_of_their_own_say_what_these_are_like(job_of: JobOf, tmp_path: Path) -> None:
    classes = ("left", "none", "right")
    job = job_of(truth="clients", data={"name": "clients", "image_size": 16}, federation={"clients": 2})
    settings = [
        ClientOptions(images=OwnImages(folder=folder(tmp_path / str(edge), classes[:2], edge), classes=classes))
        for edge in (16, 24)
    ]
    held = [HeldImages(each) for each in settings]
    roster = joined(job, held)
    assert agreed(roster.said) == ((1, 16, 16), 3)
    fits = replace(job, shape=agreed(roster.said)[0], classes=3)
    assert held[1](fits, 1).train.shape == (1, 16, 16)


def test_a_client_without_a_folder_cannot_join_where_each_brings_its_own(job_of: JobOf) -> None:
    job = job_of(truth="clients", data={"name": "clients"}, federation={"clients": 1})
    notices: list[str] = []
    with pytest.raises(SplitfedError, match="no client joined"):
        joined(job, [HeldImages(ClientOptions(client=0))], notices)
    assert "name a folder of its own (images.folder)" in notices[0]


def test_a_client_without_the_data_set_takes_no_other_under_its_name(
    job_of: JobOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results would speak of images that nobody but the client has seen."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    data = {"name": "medical_mnist", "fallback": "digits", "image_size": 8}
    held = HeldImages(ClientOptions(client=0))
    assert held(job_of(data=data), 0).train.shape == (1, 8, 8)
    with pytest.raises(DataError, match="medical_mnist"):
        HeldImages(ClientOptions(client=0))(job_of(data=data, truth="clients"), 0)


def test_a_client_of_any_number_says_what_its_images_are_like(job_of: JobOf) -> None:
    job = job_of(truth="clients", federation={"clients": 1})
    held = HeldImages(ClientOptions())
    app = build_client_app(held)
    with LocalGrid(app, 1) as grid:
        grid._contexts[1].node_config["partition-id"] = ANY
        roster = JoinedNodes(1, patience_s=1, notice=lambda _: None)
        roster.refresh(grid, replace(job, shape=NO_SHAPE, classes=0).to_config([]))
    assert agreed(roster.said) == (job.shape, job.classes)
    assert roster.images == {0: 0}  # it is nobody's share yet


# what a scenario may ask for


def test_an_order_without_a_shape_is_of_a_lab_without_images(job_of: JobOf) -> None:
    unknown = [replace(job_of(truth=truth), shape=NO_SHAPE, classes=0) for truth in ("clients", "lab")]
    assert Order.of(unknown[0], "0123456789abcdef").job("").classes == 0
    with pytest.raises(ValidationError, match="expected at least 2, as the lab has the images"):
        Order.of(unknown[1], "0123456789abcdef")


def test_a_set_of_which_each_client_holds_a_part_needs_truth_at_the_clients(scenario_of: ScenarioOf) -> None:
    with pytest.raises(ScenarioError, match='it needs truth = "clients"'):
        scenario_of(data={"name": "clients"})
    assert scenario_of(data={"name": "clients"}, truth="clients").truth == "clients"


def test_a_distance_between_all_originals_and_reconstructions_needs_them_at_one_place(scenario_of: ScenarioOf) -> None:
    with pytest.raises(ScenarioError, match="compare all originals at one place"):
        scenario_of(truth="clients", metrics=["fid_lite0"])
