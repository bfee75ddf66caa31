"""A run in a caller's hands says what its files say."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest

from splitfed.errors import UserError
from splitfed.records.store import RunStore
from splitfed.views import csv_table, table
from splitfed.views.run import Run
from tests.views.fabricated import broken, cell_result, manifest, run_results


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, "small", manifest())


def test_it_is_opened_by_its_directory_and_holds_what_was_found(store: RunStore) -> None:
    store.save_results(run_results())
    run = Run(str(store.path))
    assert (run.path, run.results, run.valid) == (store.path, run_results(), True)
    assert run.table() == table.to_markdown(run_results())
    assert repr(run) == f"Run('{store.path}')"
    store.save_results(run_results(broken(cell_result())))
    assert not Run(store.path).valid


def test_a_directory_without_a_run_or_without_results_is_refused(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run"):
        Run(tmp_path)
    with pytest.raises(UserError, match="no cell of this run has finished"):
        _ = Run(store.path).results


def test_the_frame_has_the_lines_of_the_csv(store: RunStore) -> None:
    store.save_results(run_results())
    frame = Run(store.path).frame()
    lines = list(csv.DictReader(io.StringIO(csv_table.to_csv(run_results()))))
    assert list(frame.columns) == list(lines[0])
    assert frame["attack"].tolist() == [line["attack"] for line in lines]
    (decoder,) = frame[(frame["cell"] == "sca-seed0") & (frame["attack"] == "decoder")].to_dict("records")
    assert (decoder["psnr_db"], decoder["ssim"], decoder["strongest"]) == (24.1, 0.74, True)


def test_without_pandas_the_cure_is_named(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_results(run_results())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        Run(store.path).frame()
