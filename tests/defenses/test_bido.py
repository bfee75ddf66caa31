"""BiDO: terms over the client's hidden layers, with the weights of the official code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from splitfed import defenses
from splitfed.data import Splits
from splitfed.defenses.base import TrainingBatch
from splitfed.defenses.bido import DEPENDENCES, Bido, BidoOptions
from splitfed.defenses.dependence import gaussian_kernel, label_kernel
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.models.front import Front, FrontSpec
from tests.federation.harness import train


def batch_of(digits: Splits, front: Front) -> TrainingBatch:
    images = digits.train[:32]
    output, hidden = front.trace(front.stem(images.pixels))
    return TrainingBatch(images.pixels, images.labels, output, hidden, front)


def front_of(digits: Splits, hidden_layers: int) -> Front:
    spec = FrontSpec(digits.train.shape, 48, hidden_layers)
    return Bido(BidoOptions()).build_front(spec, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("measure", "weights"), [("hsic", (0.05, 0.5)), ("coco", (1.0, 50.0))])
def test_the_weights_left_out_are_those_of_the_official_code(measure: str, weights: tuple[float, float]) -> None:
    options = BidoOptions.model_validate({"measure": measure})
    assert options.weights == weights
    assert BidoOptions.model_validate({"measure": measure, "input_weight": 0}).weights == (0, weights[1])


@pytest.mark.parametrize("measure", DEPENDENCES)
@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_the_penalty_sums_both_terms_over_all_hidden_layers(digits: Splits, measure: str, hidden_layers: int) -> None:
    batch = batch_of(digits, front_of(digits, hidden_layers))
    assert len(batch.hidden) == 1 + hidden_layers
    images, labels = gaussian_kernel(batch.pixels.flatten(1)), label_kernel(batch.labels)
    dependence = DEPENDENCES[measure].of
    wanted = torch.zeros((), dtype=torch.float64)
    for layer in batch.hidden:
        wanted = wanted + 2.0 * dependence(images, gaussian_kernel(layer))
        wanted = wanted - 3.0 * dependence(gaussian_kernel(layer), labels)
    options = BidoOptions.model_validate({"measure": measure, "input_weight": 2.0, "label_weight": 3.0})
    torch.testing.assert_close(Bido(options).regularizer(batch), wanted)


@pytest.mark.parametrize("measure", DEPENDENCES)
def test_steps_against_each_term_move_the_dependence_it_names(digits: Splits, measure: str) -> None:
    of = DEPENDENCES[measure].of
    for options, falls in (({"input_weight": 1.0, "label_weight": 0.0}, True), ({"input_weight": 0.0}, False)):
        front = front_of(digits, 0)
        defense = Bido(BidoOptions.model_validate({"measure": measure, **options}))
        optimizer = torch.optim.Adam(front.body.parameters(), lr=1e-3)

        def dependence(front: Front = front, falls: bool = falls) -> float:
            batch = batch_of(digits, front)
            other = gaussian_kernel(batch.pixels.flatten(1)) if falls else label_kernel(batch.labels)
            return float(of(gaussian_kernel(batch.output.detach()), other))

        before = dependence()
        for _ in range(20):
            optimizer.zero_grad()
            defense.regularizer(batch_of(digits, front)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert (dependence() < before) == falls


@pytest.mark.parametrize("measure", DEPENDENCES)
def test_a_run_moves_every_clients_front(job_of: Callable[..., Job], shares: list[ClientImages], measure: str) -> None:
    result = train(job_of("bido", options={"measure": measure}), shares, direct=True)
    assert len(result.measures) == 3
    assert all(measures["penalty_gradient_norm"] > 0 for measures in result.measures.values())


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="'hsic' or 'coco'"):
        defenses.build("bido", {"measure": "mmd"})
