"""Ray is started again where it was late, and says why where it never starts."""

from __future__ import annotations

from typing import Any

import pytest

from splitfed.errors import UserError
from splitfed.runners import ray_package
from tests.runners.on_ray import ray_or_skip


@pytest.mark.parametrize("late", [0, ray_package.START_ATTEMPTS - 1, ray_package.START_ATTEMPTS])
def test_ray_is_started_as_often_as_a_busy_machine_may_need(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ray_or_skip()
    ray = ray_package.load_ray()
    asked, ended = [], []

    def init(**options: Any) -> str:
        asked.append(options)
        if len(asked) <= late:
            raise Exception("The current node timed out during startup.")
        return "started"

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(1))
    if late < ray_package.START_ATTEMPTS:
        assert ray_package.start(ray, num_cpus=1) == "started"
        assert len(asked) == late + 1
    else:
        with pytest.raises(UserError, match=r"Ray does not start on this machine: The current node timed out"):
            ray_package.start(ray, num_cpus=1)
    assert len(ended) == late
    assert all(options["address"] == "local" and options["num_cpus"] == 1 for options in asked)
