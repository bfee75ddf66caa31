"""The run directory keeps what was finished, whatever happened to the run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitfed.errors import UserError
from splitfed.records import events
from splitfed.records.manifest import Manifest
from splitfed.records.record import save
from splitfed.records.results import all_passed
from splitfed.records.store import RunStore
from tests.views.fabricated import broken, cell_result, changed, empty_results, manifest, run_results

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.create(tmp_path, "medmnist_split", manifest()) as created:
        yield created


def test_runs_that_start_in_the_same_second_get_directories_of_their_own(tmp_path: Path) -> None:
    runs = [RunStore.create(tmp_path, "a", manifest()) for _ in range(5)]
    assert len({run.path for run in runs}) == 5
    assert all(run.path.parent == tmp_path for run in runs)


def test_a_scenario_file_outside_gives_a_run_inside(tmp_path: Path) -> None:
    run = RunStore.create(tmp_path / "runs", "../up/my scenario", manifest())
    assert run.path.parent == tmp_path / "runs"


def test_the_manifest_is_kept(store: RunStore) -> None:
    again = RunStore.open(store.path)
    assert again.manifest == store.manifest == manifest()


def test_latest_is_the_run_created_last_whatever_its_name(tmp_path: Path) -> None:
    RunStore.create(tmp_path, "zebra", manifest(created="2026-01-01T00:00:00"))
    newest = RunStore.create(tmp_path, "aardvark", manifest(created="2026-03-01T00:00:00"))
    RunStore.create(tmp_path, "monkey", manifest(created="2026-02-01T00:00:00"))
    assert RunStore.latest(tmp_path).path == newest.path


def test_a_directory_that_is_no_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no run: it has no manifest\.json"):
        RunStore.open(tmp_path)
    with pytest.raises(UserError, match="splitfed scenario"):
        RunStore.latest(tmp_path / "nowhere")


def test_each_cell_has_its_own_folder_below_cells(store: RunStore) -> None:
    names = ["none", "a/b", "a b", "..", ".", "λ=0.5"]
    folders = {store.cell_dir(name) for name in names}
    assert len(folders) == len(names)
    assert all(folder.is_dir() and folder.resolve().parent == store.path / "cells" for folder in folders)
    assert store.images_dir.is_dir()
    assert store.checkpoints_dir.is_dir()


def test_labels_and_names_of_any_length_give_folders(tmp_path: Path) -> None:
    for scenario in ("é" * 120, "🩻" * 120, "λ" * 300):
        store = RunStore.create(tmp_path, scenario, manifest())
        labels = [f"{'é' * 50}{end}" for end in ("", "a", "b")]
        assert len({store.cell_dir(label) for label in labels}) == 3


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask that most systems set."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize(("share", "of_folders", "of_files"), [(False, 0o700, 0o600), (True, 0o755, 0o644)])
def test_a_run_is_its_owners_alone_unless_it_is_shared(
    tmp_path: Path, share: bool, of_folders: int, of_files: int
) -> None:
    store = RunStore.create(tmp_path / "runs", "a", manifest(), share=share)
    with store, store.running():
        store.append_event(events.Notice(message="a"))
        store.save_results(run_results())
        store.cell_dir("none")
    found = {path.name: path.stat().st_mode & 0o777 for path in [store.path, *store.path.rglob("*")]}
    assert {found.pop(name) for name in (store.path.name, "cells", "none")} == {of_folders}
    assert set(found) == {"manifest.json", "events.jsonl", "results.json", "run.lock"}
    assert set(found.values()) == {of_files}
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o755  # others have runs in there


def test_one_process_runs_a_run_and_clears_what_a_killed_one_left(store: RunStore) -> None:
    (store.images_dir / ".0123456789abcdef.draft").touch()
    with store.running() as alone:
        assert alone
        assert list(store.images_dir.iterdir()) == []
        with pytest.raises(UserError, match="is in use by process"), RunStore.open(store.path).running():
            pass
    with RunStore.open(store.path).running() as alone:
        assert alone


def test_a_damaged_manifest_is_named_with_the_way_out(store: RunStore, tmp_path: Path) -> None:
    for content in ("", "[1]", "null", '{"created', "[" * 100_000):
        (store.path / "manifest.json").write_text(content)
        with pytest.raises(UserError, match=r"manifest\.json is damaged.*restore it from a copy"):
            _ = store.manifest
    whole = RunStore.create(tmp_path, "zebra", manifest())
    assert RunStore.latest(tmp_path).path == whole.path


def test_events_are_read_back_while_the_run_goes_on(store: RunStore) -> None:
    written = [events.Notice(message=f"one\ntwo {n}") for n in range(3)]
    for count, event in enumerate(written, start=1):
        store.append_event(event)
        assert list(RunStore(store.path).read_events()) == written[:count]


def test_a_loss_that_is_no_number_survives_the_event_log(store: RunStore) -> None:
    store.append_event(events.RoundFinished(cell="a", round=1, rounds=1, loss=math.nan, accuracy=0.5))
    (event,) = store.read_events()
    assert isinstance(event, events.RoundFinished)
    assert math.isnan(event.loss)


def test_a_run_without_events_has_none(store: RunStore) -> None:
    assert list(store.read_events()) == []


def test_a_line_cut_off_by_a_crash_is_left_out_and_overwritten_on_resume(store: RunStore) -> None:
    before, after = events.Notice(message="before"), events.Notice(message="after")
    with store:
        store.append_event(before)
    log = store.path / "events.jsonl"
    with log.open("a") as broken_off:
        broken_off.write('{"event": "Notice", "mess')
    assert list(store.read_events()) == [before]

    with RunStore.open(store.path) as resumed:
        resumed.append_event(after)
    assert list(store.read_events()) == [before, after]


def test_lines_that_are_no_events_are_left_out_and_counted(store: RunStore) -> None:
    before, after = events.Notice(message="before", time_s=1.0), events.Notice(message="after", time_s=2.0)
    with store:
        store.append_event(before)
    with (store.path / "events.jsonl").open("ab") as log:
        log.write(b'{"event": "Nonsense", "time_s": 0}\n\x00\x00\xff\n[]\n{"event": "Notice", "sound": 1}\n\n')
        log.write(b"[" * 100_000 + b"\n")
    store.append_event(after)
    *told, fault = store.read_events()
    assert told == [before, after]
    assert isinstance(fault, events.Notice)
    assert "events.jsonl: line 2 is no event of this version of splitfed" in fault.message
    assert fault.message.endswith("and 5 more: left out")
    assert fault.time_s == 2.0


@needs_full
def test_a_full_disk_is_said_with_the_way_to_go_on(store: RunStore) -> None:
    (store.path / "events.jsonl").symlink_to(FULL)
    for _ in range(2):
        with pytest.raises(UserError, match=r"cannot write .*events\.jsonl: No space left on device; free.*--resume"):
            store.append_event(events.Notice(message="a"))
    store.close()


def test_a_line_for_which_there_is_no_room_leaves_no_part_of_it(tmp_path: Path) -> None:
    """A process of its own: a limit on files would hold for the whole test run."""
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from splitfed.errors import UserError\nfrom splitfed.records.events import Notice\n"
        "from splitfed.records.store import RunStore\n"
        "store = RunStore(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try:\n    for _ in range(100): store.append_event(Notice(message='x' * 100))\n"
        "except UserError as error:\n    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))\n"
        "store.append_event(Notice(message='y'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "File too large" in done.stdout
    log = tmp_path / "events.jsonl"
    *earlier, last = [json.loads(line)["message"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert set(earlier) == {"x" * 100}
    assert last == "y"


def test_a_place_where_no_run_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in ("file", "file/below"):
        with pytest.raises(UserError, match=r"cannot make a run directory in .*file.* with --out"):
            RunStore.create(tmp_path / root, "a", manifest())


def test_a_run_that_could_not_begin_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom splitfed.records.store import RunStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from tests.views.fabricated import manifest\n"
        "RunStore.create(Path(sys.argv[1]), 'a', manifest({'text': 'x' * 2000}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_text_survive(store: RunStore) -> None:
    odd = os.fsdecode(b"/data/\xe9t\xe9")
    store.append_event(events.Notice(message=odd))
    (event,) = store.read_events()
    assert isinstance(event, events.Notice)
    assert event.message == odd
    changed_place = {"images": manifest().images.model_copy(update={"location": Path(odd)}), "scenario": {"path": odd}}
    save(store.path / "manifest.json", manifest().model_copy(update=changed_place))
    assert (store.manifest.images.location, store.manifest.scenario) == (Path(odd), {"path": odd})
    results = run_results()
    described = results.dataset.model_copy(update={"note": odd, "remarks": (odd,)})
    store.save_results(results.model_copy(update={"dataset": described}))
    assert store.results.dataset == described


def test_finished_cells_are_those_with_an_entry(store: RunStore) -> None:
    store.save_results(empty_results())
    assert store.finished_cells() == []
    assert store.results.valid is False
    store.save_results(run_results())
    assert store.finished_cells() == [cell.cell for cell in run_results().cells]


def test_a_run_without_results_says_so(store: RunStore) -> None:
    assert store.finished_cells() == []
    with pytest.raises(UserError, match=r"no results\.json yet"):
        _ = store.results


def test_readers_never_see_half_a_results_file(store: RunStore) -> None:
    store.save_results(run_results(cell_result("none")))
    stop = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(len(json.loads((store.path / "results.json").read_bytes())["cells"]))

    reader = threading.Thread(target=read)
    reader.start()
    for cells in range(1, 20):
        store.save_results(run_results(*(cell_result("none", seed=each) for each in range(cells))))
    stop.set()
    reader.join()
    assert seen == sorted(seen)
    assert {path.name for path in store.path.iterdir()} == {"manifest.json", "results.json"}


def test_refused_results_leave_the_old_ones(store: RunStore) -> None:
    store.save_results(run_results())
    old = (store.path / "results.json").read_bytes()
    lying = run_results().model_copy(update={"cells": (changed(broken(cell_result()), valid=True),)})
    with pytest.raises(UserError, match=r"none-seed0\.valid: is True, its gates say otherwise"):
        store.save_results(lying)
    assert (store.path / "results.json").read_bytes() == old


def test_numbers_that_are_not_finite_are_stored_as_null(store: RunStore) -> None:
    cell = broken(cell_result(accuracy=math.nan), gate="finite", detail="accuracy is nan")
    store.save_results(run_results(cell))

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    stored = json.loads((store.path / "results.json").read_text(), parse_constant=refuse)
    assert stored["cells"][0]["accuracy"] is None
    assert store.results.cells[0].accuracy is None


def test_a_damaged_results_file_is_named(store: RunStore) -> None:
    for content in ('{"schema": 2, "cells"', ""):
        (store.path / "results.json").write_text(content)
        with pytest.raises(UserError, match=r"results\.json is damaged: .*or delete it and .* --resume"):
            _ = store.results


@pytest.mark.parametrize(("schema", "reader"), [(1, "splitfed 0.1.0"), (7, "the version of splitfed that wrote it")])
def test_results_of_another_schema_are_refused_with_a_word_on_who_reads_them(
    store: RunStore, schema: int, reader: str
) -> None:
    (store.path / "results.json").write_text(f'{{"schema": {schema}, "trivial": {{}}}}')
    with pytest.raises(UserError, match=rf"is of schema {schema}, this version reads schema 2: read it with {reader}"):
        _ = store.results


def test_the_place_of_a_fault_is_named(store: RunStore) -> None:
    store.save_results(run_results())
    whole = json.loads((store.path / "results.json").read_bytes())
    del whole["cells"][1]["majority_rate"]
    whole["cells"][2]["attacks"]["ridge"]["ssim"] = "0.5"  # a number as text is no number
    (store.path / "results.json").write_text(json.dumps(whole))
    with pytest.raises(UserError) as refusal:
        _ = store.results
    assert "cells.1.majority_rate: Field required" in str(refusal.value)
    assert "cells.2.attacks.ridge.ssim: Input should be a valid number" in str(refusal.value)


def test_contradictions_within_results_are_refused(store: RunStore) -> None:
    faults: dict[str, dict[str, object]] = {
        "'none-seed0' appears twice": {"cells": (cell_result(), cell_result())},
        "'psychic' is not among its attacks": {"cells": (changed(cell_result(), strongest="psychic"),)},
        "valid: is True, its cells say otherwise": {"cells": (broken(cell_result()),)},
        "schema: Input should be 2": {"schema_version": 7},
    }
    for says, fault in faults.items():
        with pytest.raises(UserError, match=says):
            store.save_results(run_results().model_copy(update=fault))
    assert not store.has_results


def test_a_cell_whose_traffic_was_encrypted_has_no_attack(store: RunStore) -> None:
    store.save_results(run_results(changed(cell_result(), attacks={}, controls={}, strongest=None)))
    assert store.results.cells[0].strongest_score is None


def test_the_machine_is_described_by_what_a_timing_depends_on(store: RunStore) -> None:
    here = Manifest.of({"name": "small"}, manifest().images)
    assert 1 <= here.cores <= (os.cpu_count() or 1)
    assert here.memory_bytes > 2**28
    assert here.cpu
    assert all(here.versions[name] for name in ("torch", "torchvision", "torchmetrics"))
    assert here.created.endswith("+00:00")
    save(store.path / "manifest.json", here)
    assert store.manifest == here


def test_a_cell_is_valid_only_if_there_are_gates_and_all_passed() -> None:
    assert all_passed({"completed": True, "finite": True})
    assert not all_passed({"completed": True, "finite": False})
    assert not all_passed({})
