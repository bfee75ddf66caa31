"""DP-SGD: gradients per sample against autograd one by one, the bound, the noise, what is refused, ε."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from splitfed.defenses import accounting, dpsgd
from splitfed.defenses.base import TapEvidence, TrainingPlan
from splitfed.defenses.dpsgd import DPSGD, DPSGDOptions
from splitfed.defenses.per_sample import PerSampleGradients
from splitfed.errors import UserError
from splitfed.federation.back_trainer import BackTrainer
from splitfed.federation.backs import TrainSession
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.models.back import Back
from splitfed.models.front import FrontSpec, PlainFront
from splitfed.types import ImageShape
from tests.federation.harness import train

SILENT = 1e-9
"""A noise multiplier that leaves the clipped gradients to be seen."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    module = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=seeded(seed))
    return module


def one_by_one(module: nn.Module, inputs: Tensor, gradient: Tensor) -> list[list[Tensor]]:
    """Each sample's gradient by a backward pass of its own."""
    parameters = list(module.parameters())
    return [
        list(torch.autograd.grad(module(inputs[i : i + 1]), parameters, gradient[i : i + 1]))
        for i in range(len(inputs))
    ]


def norm(gradients: list[Tensor]) -> Tensor:
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()


NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "front": (lambda: network(nn.Flatten(), nn.Linear(12, 7), nn.ReLU()), (3, 4)),
    "back": (lambda: network(nn.Linear(12, 7), nn.ReLU(), nn.Sequential(nn.Linear(7, 5), nn.Tanh())), (12,)),
    "rows": (lambda: network(nn.Linear(4, 6), nn.GELU(), nn.Flatten(), nn.Linear(18, 5, bias=False)), (3, 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 9))
def test_gradients_per_sample_equal_autograd_one_by_one(name: str, seed: int, batch: int) -> None:
    make, shape = NETWORKS[name]
    module = make()
    inputs = torch.randn(batch, *shape, generator=seeded(seed), dtype=torch.float64)
    gradient = torch.randn(module(inputs).shape, generator=seeded(seed + 1), dtype=torch.float64)
    weights = torch.rand(batch, generator=seeded(seed + 2), dtype=torch.float64)
    brute = one_by_one(module, inputs, gradient)
    found = PerSampleGradients(module, inputs, gradient)
    torch.testing.assert_close(found.norms(), torch.stack([norm(gradients) for gradients in brute]))
    sums = dict(found.weighted_sum(weights))
    assert sums.keys() == set(module.parameters())
    for number, parameter in enumerate(module.parameters()):
        wanted = sum(weight * gradients[number] for weight, gradients in zip(weights, brute, strict=True))
        torch.testing.assert_close(sums[parameter], wanted)


def test_no_hook_is_left_behind() -> None:
    module = network(nn.Linear(4, 3), nn.ReLU())
    inputs = torch.ones(2, 4, dtype=torch.float64)
    PerSampleGradients(module, inputs, torch.ones(2, 3, dtype=torch.float64))
    assert not any(layer._forward_hooks for layer in module.modules())


class Doubled(nn.Module):
    """Uses its one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "1 is BatchNorm1d, which mixes the samples of a batch"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout()), "1 is Dropout"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "1 is LayerNorm"),
        (nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)), "0 is Linear"),
        (Doubled(), "used more than once"),
    ],
    ids=["batch_norm", "random", "unknown", "frozen", "twice"],
)
def test_what_has_no_gradient_per_sample_is_refused(module: nn.Module, said: str) -> None:
    with pytest.raises(UserError, match=said):
        PerSampleGradients(module, torch.ones(3, 4), torch.ones(3, 4))


def test_the_front_of_the_sparse_architecture_is_refused() -> None:
    from splitfed.defenses import build

    front = build("sca", {}).build_front(FrontSpec(ImageShape(1, 8, 8), 12), seeded(0))
    features, output = torch.zeros(4, 16, 8, 8), torch.zeros(4, 12)
    with pytest.raises(UserError, match=r"0 is BatchNorm2d, which mixes .*: take a network without it"):
        DPSGD(DPSGDOptions()).backward(front.body, features, output, torch.ones_like(output), seeded(2))


# one step of a whole network


def network_step(
    defense: DPSGD, batch: int = 6, seed: int = 0
) -> tuple[nn.Sequential, nn.Sequential, list[list[Tensor]], list[list[Tensor]]]:
    """Front and back after `backward`, and each sample's own gradients for both."""
    front = network(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), seed=seed)
    back = network(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3), seed=seed + 1)
    images = torch.randn(40, 3, 4, generator=seeded(seed + 2), dtype=torch.float64)[:batch]
    labels = torch.arange(batch) % 3
    of_front, of_back = [], []
    for i in range(batch):
        loss = F.cross_entropy(back(front(images[i : i + 1])), labels[i : i + 1])
        own = list(torch.autograd.grad(loss, [*front.parameters(), *back.parameters()]))
        of_front.append(own[:2])
        of_back.append(own[2:])
    output = front(images)
    leaf = output.detach().requires_grad_()
    scores = back(leaf)
    (of_scores,) = torch.autograd.grad(F.cross_entropy(scores, labels), scores)
    (of_leaf,) = torch.autograd.grad(scores, leaf, of_scores, retain_graph=True)
    defense.backward(back, leaf, scores, of_scores, seeded(10))
    defense.backward(front, images, output, of_leaf, seeded(11))
    return front, back, of_front, of_back


def written(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def test_without_clipping_and_noise_it_is_the_plain_gradient() -> None:
    front, back, of_front, of_back = network_step(DPSGD(DPSGDOptions(clip=1e6, noise_multiplier=1e-16)))
    for module, own in ((front, of_front), (back, of_back)):
        for gradient, samples in zip(written(module), zip(*own, strict=True), strict=True):
            torch.testing.assert_close(gradient, torch.stack(samples).mean(dim=0), atol=1e-9, rtol=1e-9)


def test_each_sample_is_clipped_to_its_share_of_the_bound() -> None:
    clip = 0.4
    defense = DPSGD(DPSGDOptions(clip=clip, noise_multiplier=SILENT))
    front, back, of_front, of_back = network_step(defense)
    lengths = []
    for module, own in ((front, of_front), (back, of_back)):
        bound = clip / math.sqrt(2)
        clipped = [[g * min(1.0, bound / max(float(norm(gs)), 1e-12)) for g in gs] for gs in own]
        lengths.append(torch.stack([norm(gs) for gs in clipped]))
        for gradient, samples in zip(written(module), zip(*clipped, strict=True), strict=True):
            torch.testing.assert_close(gradient, torch.stack(samples).mean(dim=0), atol=1e-8, rtol=1e-6)
    together = (lengths[0].square() + lengths[1].square()).sqrt()
    assert (together <= clip * (1 + 1e-9)).all()
    assert together.max() > clip * 0.99  # so that the bound is also reached


def test_one_sample_more_moves_the_sum_by_no_more_than_the_bound() -> None:
    """The sensitivity, by comparison of two batches of which one has one image more."""
    clip = 0.3
    sums = []
    for batch in (6, 7):
        front, back, *_ = network_step(DPSGD(DPSGDOptions(clip=clip, noise_multiplier=SILENT)), batch=batch)
        sums.append(torch.cat([gradient.flatten() * batch for gradient in written(front) + written(back)]))
    assert 0 < (sums[1] - sums[0]).norm() <= clip * (1 + 1e-6)


def linear_step(defense: DPSGD, seed: int = 0, width: int = 64, batch: int = 8) -> nn.Sequential:
    module = nn.Sequential(nn.Linear(width, width))
    nn.init.zeros_(module[0].weight)  # type: ignore[arg-type]
    inputs = torch.randn(batch, width, generator=seeded(1))
    output = module(inputs)
    defense.backward(module, inputs, output, torch.full_like(output, 1e-3 / batch), seeded(seed))
    return module


def test_the_noise_has_the_stated_scale() -> None:
    sigma, clip, batch = 2.0, 0.5, 8
    noisy = linear_step(DPSGD(DPSGDOptions(noise_multiplier=sigma, clip=clip)), batch=batch)
    silent = linear_step(DPSGD(DPSGDOptions(noise_multiplier=SILENT, clip=clip)), batch=batch)
    noise = torch.cat([(a - b).flatten() for a, b in zip(written(noisy), written(silent), strict=True)])
    assert noise.std() == pytest.approx(sigma * clip / batch, rel=0.05)
    assert abs(noise.mean()) < 4 * sigma * clip / batch / math.sqrt(len(noise))


def test_the_same_seed_gives_the_same_noise_and_another_seed_another() -> None:
    first, again, other = (written(linear_step(DPSGD(DPSGDOptions()), seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_zero_gradient_is_left_alone() -> None:
    module = nn.Sequential(nn.Linear(3, 2))
    output = module(torch.ones(4, 3))
    DPSGD(DPSGDOptions(noise_multiplier=SILENT)).backward(
        module, torch.ones(4, 3), output, torch.zeros(4, 2), seeded(0)
    )
    assert all(gradient.abs().max() < 1e-8 for gradient in written(module))


def test_gradients_that_are_there_already_are_added_to() -> None:
    defense = DPSGD(DPSGDOptions(noise_multiplier=SILENT))
    module = linear_step(defense)
    once = [gradient.clone() for gradient in written(module)]
    inputs = torch.randn(8, 64, generator=seeded(1))
    output = module(inputs)
    defense.backward(module, inputs, output, torch.full_like(output, 1e-3 / 8), seeded(0))
    for gradient, before in zip(written(module), once, strict=True):
        torch.testing.assert_close(gradient, 2 * before, atol=1e-7, rtol=1e-5)


def test_the_servers_backs_are_trained_with_noise() -> None:
    def trained(defense: DPSGD) -> list[Tensor]:
        torch.manual_seed(0)
        back = Back(released=32, width=64, classes=4)
        optimizer = torch.optim.SGD(back.parameters(), lr=1.0)
        before = [parameter.detach().clone() for parameter in back.parameters()]
        session = TrainSession(BackTrainer(back, optimizer, defense, seeded))
        activation = torch.rand(8, 32, generator=seeded(3))
        session.forward(0, activation, torch.arange(8) % 4)
        session.update()
        return [b - parameter.detach() for parameter, b in zip(back.parameters(), before, strict=True)]

    noisy, silent = trained(DPSGD(DPSGDOptions())), trained(DPSGD(DPSGDOptions(noise_multiplier=SILENT)))
    noise = torch.cat([(a - b).flatten() for a, b in zip(noisy, silent, strict=True)])
    assert noise.std() == pytest.approx(1.1 / 8, rel=0.05)
    length = torch.cat([gradient.flatten() for gradient in silent]).norm()
    assert 0 < length <= 1 / math.sqrt(2)


# a run, and what is said of it


class Unclipped(DPSGD):
    """Forgets to clip: its bound is out of reach."""

    bound = 1e9


class Quiet(DPSGD):
    """Adds less noise than it states."""

    noise_scale = 0.5


def evidence_of(measures: list[dict[str, float]], plan: TrainingPlan) -> TapEvidence:
    front = PlainFront(ImageShape(1, 8, 8), 12)
    pixels = torch.rand(4, 1, 8, 8, generator=seeded(0))
    clean = front(pixels).detach()
    return TapEvidence(front, pixels, torch.zeros(4, dtype=torch.long), clean, clean, measures, plan)


PLAN = TrainingPlan(images=(1000, 600, 1000), batch_size=32, rounds=5, local_epochs=3, classes=6)


def test_a_run_measures_its_clipping_and_its_noise(job_of: Callable[..., Job], shares: list[ClientImages]) -> None:
    result = train(job_of("dpsgd", options={"clip": 0.2}), shares, direct=True)
    measures = [dict(found) for found in result.measures.values()]
    assert len(measures) == 3
    defense = DPSGD(DPSGDOptions(clip=0.2))
    for found in measures:
        assert found["noise_scale"] == pytest.approx(0.22, rel=0.05)
        assert found["longest_clipped"] == pytest.approx(0.2 / math.sqrt(2), rel=1e-4)
        assert found["clipped_share"] > 0.5
    evidence = evidence_of(measures, PLAN)
    assert all(finding.acts for finding in defense.findings(evidence))
    assert defense.figures(evidence)["clipped_share"] == pytest.approx(
        sum(found["clipped_share"] for found in measures) / 3
    )


@pytest.mark.parametrize(("broken", "said"), [(Unclipped, "longest clipped gradient"), (Quiet, "noise scale")])
def test_a_mechanism_that_does_less_than_it_states_is_found_out(broken: type[DPSGD], said: str) -> None:
    mechanism = broken(DPSGDOptions(noise_multiplier=5.0))
    network_step(mechanism, batch=40)
    for _ in range(20):
        linear_step(mechanism)
    stated = DPSGD(DPSGDOptions(noise_multiplier=5.0))
    failed = [f.detail for f in stated.findings(evidence_of([dict(mechanism.measures())], PLAN)) if not f.acts]
    assert any(said in detail for detail in failed)


def test_a_client_that_measured_nothing_is_found_out() -> None:
    defense = DPSGD(DPSGDOptions())
    measured: list[list[dict[str, float]]] = [[{}], []]
    for measures in measured:
        evidence = evidence_of(measures, PLAN)
        assert [finding.acts for finding in defense.findings(evidence)][:2] == [False, False]
        assert "clipped_share" not in defense.figures(evidence)


# ε


def test_epsilon_agrees_with_the_closed_form_without_sampling() -> None:
    """T Gaussian mechanisms have Rényi divergence Tα / (2σ²); the conversion is that of Canonne et al. 2020."""
    pytest.importorskip("opacus")
    sigma, steps, delta = 4.0, 10, 1e-5
    wanted = min(
        steps * a / (2 * sigma**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1)
        for a in accounting.ORDERS
    )
    found = accounting.epsilon(noise_multiplier=sigma, sample_rate=1.0, steps=steps, delta=delta)
    assert found == pytest.approx(wanted)


def test_epsilon_agrees_with_a_published_value() -> None:
    """σ = 1.1, batch 256 of 60,000, 60 epochs, δ = 1e-5: ε about 3 (the MNIST tutorial of TensorFlow Privacy)."""
    pytest.importorskip("opacus")
    found = accounting.epsilon(noise_multiplier=1.1, sample_rate=256 / 60000, steps=60 * 234, delta=1e-5)
    assert 2.4 < found < 3.0


def test_the_largest_epsilon_of_all_clients_is_reported() -> None:
    pytest.importorskip("opacus")
    defense = DPSGD(DPSGDOptions())
    measures = [{"clipped_share": 0.5}]

    def figures(*images: int) -> dict[str, Any]:
        return dict(defense.figures(evidence_of(measures, replace(PLAN, images=images))))

    together = figures(1000, 600, 1000)
    assert together["epsilon"] == figures(600)["epsilon"] > figures(1000)["epsilon"]
    assert together["delta"] == 1e-5
    assert together["noise_multiplier"] == 1.1
    assert together["epsilon_without_sampling"] > together["epsilon"] > 0


def test_of_clients_that_train_in_some_rounds_only_the_one_that_loses_most_counts() -> None:
    pytest.importorskip("opacus")

    def figures(images: tuple[int, ...], rounds: tuple[int, ...]) -> tuple[float, float]:
        plan = replace(PLAN, images=images, client_rounds=rounds)
        found = DPSGD(DPSGDOptions()).figures(evidence_of([], plan))
        return found["epsilon"], found["epsilon_without_sampling"]

    few, often = figures((600,), (2,)), figures((1000,), (5,))
    assert figures((600, 1000, 600), (2, 5, 0)) == (max(few[0], often[0]), often[1])
    assert figures((600, 1000), (1, 0)) == figures((600,), (1,)) < few
    assert figures((600, 1000), (5, 5)) == figures((600, 1000), ())  # all of PLAN's rounds


@pytest.mark.parametrize("sigma", [0.1, 1.1, 100.0])
def test_epsilon_is_finite_and_falls_with_noise(sigma: float) -> None:
    pytest.importorskip("opacus")
    options = {"sample_rate": 0.05, "steps": 300, "delta": 1e-5}
    more, less = (accounting.epsilon(noise_multiplier=s, **options) for s in (sigma, 2 * sigma))  # type: ignore[arg-type]
    assert math.isfinite(more)
    assert 0 <= less <= more


def test_without_opacus_a_run_has_all_but_epsilon_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpsgd, "has_accountant", lambda: False)
    evidence = evidence_of([{"clipped_share": 0.5, "noise_scale": 1.1, "longest_clipped": 0.5}], PLAN)
    defense = DPSGD(DPSGDOptions())
    assert dict(defense.figures(evidence)) == {"delta": 1e-5, "noise_multiplier": 1.1, "clipped_share": 0.5}
    findings = defense.findings(evidence)
    assert all(finding.acts for finding in findings)
    assert "pip install 'splitfed[dp]'" in findings[-1].detail
