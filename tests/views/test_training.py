"""Beneath the table stands how the cells were trained, where it is not as usual in words."""

from __future__ import annotations

import csv
import io

import pytest

from splitfed.records.results import Results
from splitfed.views import csv_table, table
from splitfed.views.training import how_trained
from tests.views.fabricated import run_results


def trained(**values: object) -> Results:
    results = run_results()
    assert results.training is not None
    return results.model_copy(update={"training": results.training.model_copy(update=values)})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, ["Tensors travel as float32."]),
        ({"codec": "int8"}, ["Tensors travel as int8."]),
        (
            {"variant": "sflv2", "repeats": False},
            [
                "Tensors travel as float32.",
                "All clients' steps update one back (SplitFed v2), in an order that is up to the network: another run "
                "gives other numbers.",
            ],
        ),
        (
            {"variant": "sflv2", "repeats": True},
            ["Tensors travel as float32.", "All clients' steps update one back (SplitFed v2)."],
        ),
        (
            {"labels": "client", "client_fraction": 0.5, "clients": 10},
            [
                "Tensors travel as float32.",
                "Labels and the last layer stay with the clients (U-shaped).",
                "In each round 50% of the 10 clients train, drawn from the seed.",
            ],
        ),
    ],
)
def test_it_is_said_in_words_and_listed_in_the_csv(values: dict[str, object], said: list[str]) -> None:
    results = trained(**values)
    assert how_trained(results) == said
    assert " ".join(said) in " ".join(table.how_to_read(results))
    assert results.training is not None
    for line in csv.DictReader(io.StringIO(csv_table.to_csv(results))):
        for name in ("codec", "variant", "labels", "client_fraction"):
            assert line[name] == str(getattr(results.training, name))


def test_older_results_say_nothing_of_it() -> None:
    older = run_results().model_copy(update={"training": None})
    assert how_trained(older) == []
    assert {line["codec"] for line in csv.DictReader(io.StringIO(csv_table.to_csv(older)))} == {""}
