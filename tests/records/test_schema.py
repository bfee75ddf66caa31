"""The published schema of `results.json` says what the models say, to another validator too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from splitfed.records import schema
from splitfed.records.record import to_json
from tests.views.fabricated import cell_result, not_trained, run_results

VALIDATOR = Draft202012Validator(json.loads(schema.PUBLISHED.read_text(encoding="utf-8")))


def whole() -> dict[str, Any]:
    cells = (cell_result(), cell_result("sca"), cell_result(seed=1), not_trained(cell_result("sca", seed=1)))
    found: dict[str, Any] = json.loads(to_json(run_results(*cells)))
    return found


PLACES: list[tuple[str | int, ...]] = [
    (),
    ("dataset",),
    ("training",),
    ("baselines", "class_mean"),
    ("cells", 0),
    ("cells", 0, "ideal"),
    ("cells", 1, "against_none", "ssim"),
    ("cells", 1, "attacks", "ridge"),
    ("cells", 0, "controls", "untrained"),
    ("summary", 0),
    ("summary", 0, "over_seeds", "ssim"),
    ("summary", 1, "difference_to_none", "ssim"),
]
"""Every kind of table in `results.json`."""
FREE = {
    *("fid_lite0", "fid", "by_client", "sealed", "training", "truth", "vantage", "added_nothing", "phase"),
    "at_cap",
    "baselines_by_seed",
    *("reid", "reid_by", "reid_matched", "reid_chance_in_class", "reid_pool"),
    *("ideal", "pool_mse", "lite0_distance", "against_none"),
    "linked_oracle",
}


def at(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    for step in place:
        value = value[step]
    assert isinstance(value, dict)
    return value


def test_it_is_what_the_models_say(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert schema.main(["--check"]) == 0
    old = tmp_path / "results.schema.json"
    old.write_text(schema.PUBLISHED.read_text(encoding="utf-8").replace("psnr_db", "psnr"), encoding="utf-8")
    monkeypatch.setattr(schema, "PUBLISHED", old)
    assert schema.main(["--check"]) == 1
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0


def test_results_fit_it() -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)
    VALIDATOR.validate(whole())


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_unknown_and_missing_keys_do_not_fit_it(place: tuple[str | int, ...]) -> None:
    extended = whole()
    at(place, extended)["sound"] = 1
    assert not VALIDATOR.is_valid(extended)
    for key in at(place, whole()).keys() - FREE:
        shortened = whole()
        del at(place, shortened)[key]
        assert not VALIDATOR.is_valid(shortened), key


@pytest.mark.parametrize("change", [{"schema": 1}, {"valid": "yes"}, {"cells": {}}, {"baselines": None}])
def test_other_values_do_not_fit_it(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({**whole(), **change})
