"""Work on ranges of samples is done once, whatever the threads are, and its errors arrive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from splitfed.models.sparse import compiled


@pytest.fixture(params=["openmp", "pool"])
def two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "pool":
        monkeypatch.setattr(compiled, "openmp", lambda: None)
    elif compiled.openmp() is None:
        pytest.skip("PyTorch does not run on GNU's OpenMP here")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [0, 1, 4, 5, 64, 67])
def test_every_sample_is_worked_on_once(count: int) -> None:
    seen: list[tuple[int, int, int]] = []
    compiled.over_samples(count, lambda task, first, last: seen.append((task, first, last)))
    assert sorted(seen) == [(task, *edges) for task, edges in enumerate(compiled.task_ranges(count))]
    assert sorted(sample for _, first, last in seen for sample in range(first, last)) == list(range(count))


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_any_thread_is_raised() -> None:
    def fail(task: int, first: int, last: int) -> None:
        if task == 3:
            raise ArithmeticError(f"samples {first} to {last}")

    first, last = compiled.task_ranges(64)[3]
    with pytest.raises(ArithmeticError, match=f"samples {first} to {last}"):
        compiled.over_samples(64, fail)
