"""A run goes on with the very images that it was started on, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from splitfed.config.scenario import Scenario
from splitfed.data import Dataset
from splitfed.data.class_folders import MEDICAL_CLASSES
from splitfed.data.locations import DATA_VARIABLE
from splitfed.errors import UserError
from splitfed.experiment import run as experiment
from splitfed.experiment.images import load_images
from splitfed.experiment.provenance import provenance
from splitfed.files import CACHE_VARIABLE
from splitfed.records.bus import Bus
from splitfed.records.events import Notice
from splitfed.records.store import RunStore
from tests.data.conftest import jpeg, write_folder

ScenarioOf = Callable[..., Scenario]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data set of this machine's is found, and downloads lead nowhere."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def images_of(folder: Path, classes: tuple[str, ...], per_class: int = 20) -> Path:
    files = {f"{c}/{n}.jpeg": jpeg(100 * i + n) for i, c in enumerate(classes) for n in range(per_class)}
    return write_folder(folder, files)


def started(scenario: Scenario, out: Path, data_root: Path | None = None) -> tuple[RunStore, Dataset]:
    """A run as far as it is when it is interrupted at once."""
    dataset, _ = load_images(scenario, data_root, Bus())
    return experiment._create(scenario, out, provenance(dataset, data_root)), dataset


@pytest.fixture
def own(scenario_of: ScenarioOf, tmp_path: Path) -> Scenario:
    images_of(tmp_path / "mine", ("a", "b"))
    data = {"name": "folder", "path": "mine", "image_size": 16, "train": 12, "aux": 20, "test": 6}
    return scenario_of(data=data, federation={"batch_size": 4, "clients": 2})


@pytest.fixture
def medical(scenario_of: ScenarioOf) -> Scenario:
    data = {"name": "medical_mnist", "fallback": "phantoms", "train": 48, "aux": 24, "test": 12}
    return scenario_of(data=data, federation={"batch_size": 8})


def test_the_same_images_are_taken_wherever_the_user_stands(
    own: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, before = started(own, tmp_path / "runs")
    monkeypatch.chdir("/")
    again, _ = load_images(own, None, Bus(), of_run=run)
    assert again.identity == before.identity
    shutil.move(tmp_path / "mine", tmp_path / "moved" / "mine")
    again, _ = load_images(own, tmp_path / "moved", Bus(), of_run=run)
    assert again.identity == before.identity


def test_moved_images_are_found_by_the_root_that_is_named(own: Scenario, tmp_path: Path) -> None:
    """Also where the scenario named them by their whole place, and where a link led there."""
    whole = own.model_copy(update={"data": own.data.model_copy(update={"path": str(tmp_path / "mine")})})
    run, before = started(whole, tmp_path / "runs")
    shutil.move(tmp_path / "mine", tmp_path / "moved" / "mine")
    for root in (tmp_path / "moved", tmp_path / "moved" / "mine"):
        assert load_images(whole, root, Bus(), of_run=run)[0].identity == before.identity


def test_a_copy_as_it_was_comes_before_the_changed_folder(own: Scenario, tmp_path: Path) -> None:
    whole = own.model_copy(update={"data": own.data.model_copy(update={"path": str(tmp_path / "mine")})})
    run, before = started(whole, tmp_path / "runs")
    shutil.copytree(tmp_path / "mine", tmp_path / "backup" / "mine")
    (tmp_path / "mine" / "a" / "new.jpeg").write_bytes(jpeg(999))
    assert load_images(whole, tmp_path / "backup", Bus(), of_run=run)[0].identity == before.identity


def test_a_link_in_the_root_is_found_again(medical: Scenario, tmp_path: Path) -> None:
    images_of(tmp_path / "far" / "MedNIST", MEDICAL_CLASSES)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "MedNIST").symlink_to(tmp_path / "far" / "MedNIST")
    run, before = started(medical, tmp_path / "runs", tmp_path / "root")
    assert load_images(medical, None, Bus(), of_run=run)[0].identity == before.identity


def test_a_named_root_comes_before_the_working_folder(
    own: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = started(own, tmp_path / "runs", tmp_path)
    images_of(tmp_path / "elsewhere" / "mine", ("x", "y"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_images(own, tmp_path, Bus(), of_run=run)[0].identity == before.identity


def test_a_folder_that_grew_is_refused(own: Scenario, tmp_path: Path) -> None:
    run, _ = started(own, tmp_path / "runs", tmp_path)
    (tmp_path / "mine" / "a" / "new.jpeg").write_bytes(jpeg(999))
    with pytest.raises(
        UserError, match=r"started on 40 images of folder at .*mine; found 41 .*not the same.*--data-root"
    ):
        load_images(own, tmp_path, Bus(), of_run=run)


def test_images_that_changed_in_place_are_refused(own: Scenario, tmp_path: Path) -> None:
    run, _ = started(own, tmp_path / "runs", tmp_path)
    (tmp_path / "mine" / "a" / "3.jpeg").write_bytes(jpeg(999))
    with pytest.raises(UserError, match=r"started on 40 images of folder.*found 40"):
        load_images(own, tmp_path, Bus(), of_run=run)


def test_nothing_stands_in_for_the_images_of_a_run(medical: Scenario, tmp_path: Path) -> None:
    """Started on real images, gone on where they are not: phantoms must not be mixed into its table."""
    images_of(tmp_path / "here" / "MedNIST", MEDICAL_CLASSES)
    run, _ = started(medical, tmp_path / "runs", tmp_path / "here")
    shutil.rmtree(tmp_path / "here")
    heard: list[object] = []
    with pytest.raises(UserError, match=r"started on 120 images of medical_mnist at .*MedNIST: .*--data-root"):
        load_images(medical, None, Bus(heard.append), of_run=run)
    assert not [event for event in heard if isinstance(event, Notice) and event.level == "banner"]


def test_the_place_that_was_named_is_remembered(medical: Scenario, tmp_path: Path) -> None:
    images_of(tmp_path / "here" / "MedNIST", MEDICAL_CLASSES)
    run, before = started(medical, tmp_path / "runs", tmp_path / "here")
    again, _ = load_images(medical, None, Bus(), of_run=run)
    assert (again.name, again.identity) == ("medical_mnist", before.identity)


def test_a_run_on_the_stand_in_stays_on_it(medical: Scenario, tmp_path: Path) -> None:
    """Also where the real images have been found since."""
    run, before = started(medical, tmp_path / "runs")
    assert before.synthetic
    images_of(tmp_path / "here" / "MedNIST", MEDICAL_CLASSES)
    again, _ = load_images(medical, tmp_path / "here", Bus(), of_run=run)
    assert (again.name, again.identity) == ("phantoms", before.identity)


def test_a_run_that_does_not_say_is_not_gone_on_with(medical: Scenario, tmp_path: Path) -> None:
    run, _ = started(medical, tmp_path)
    written = json.loads((run.path / "manifest.json").read_bytes())
    del written["images"]
    (run.path / "manifest.json").write_text(json.dumps(written))
    with pytest.raises(UserError, match=r"another version of splitfed \(images: Field required\)"):
        experiment.run(medical, resume=run.path)


def test_a_run_of_the_first_version_is_left_to_it(medical: Scenario, tmp_path: Path) -> None:
    run, _ = started(medical, tmp_path)
    written = json.loads((run.path / "manifest.json").read_bytes())
    del written["schema"]
    written["images"]["size"] = written["images"].pop("image_size")
    (run.path / "manifest.json").write_text(json.dumps(written))
    with pytest.raises(UserError, match=r"of schema 1, .*go on with it, or read it, in splitfed 0\.1\.0 .*new run"):
        experiment.run(medical, resume=run.path)


def test_the_results_say_what_was_read(own: Scenario, tmp_path: Path) -> None:
    (tmp_path / "mine" / "notes.csv").write_text("")
    results = experiment.run(own, out=tmp_path / "runs", data_root=tmp_path).results
    dataset = results.dataset
    assert dataset.images == {"a": 20, "b": 20}
    assert dataset.skipped == {".csv": 1}
    (run,) = (tmp_path / "runs").iterdir()
    assert RunStore.open(run).manifest.images.identity == dataset.identity
    notices = [e.message for e in RunStore.open(run).read_events() if isinstance(e, Notice)]
    assert any("2 classes: a 20, b 20; skipped files: 1 .csv" in message for message in notices)
