"""What holds for every defense in the registry."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from splitfed import data
from splitfed.defenses import DEFENSES, Defense, build, check_generated
from splitfed.defenses.base import TrainingBatch, trainable
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.front import Front, FrontSpec
from splitfed.options import Options
from splitfed.seeding import generator
from splitfed.types import Images, Phase
from tests.defenses.audit import audited, gate
from tests.defenses.quick import breaks, quick

NAMES = sorted(name for name, kind in DEFENSES.items() if kind.__module__.startswith("splitfed."))
MECHANISMS = [name for name in NAMES if build(name, dict(quick(name).options)).randomized]
THREATS = {"split": 0, "end_to_end": 2}
"""Hidden layers on the client's side of the cut."""
WIDTH = 24
CLIENTS = 2
JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]


def small(name: str) -> Defense:
    return build(name, dict(quick(name).options))


def front_of(defense: Defense, images: Images, hidden_layers: int = 0) -> Front:
    return defense.build_front(FrontSpec(images.shape, WIDTH, hidden_layers), generator(0, "front"))


@pytest.fixture(scope="module")
def images(digits: data.Splits) -> Images:
    return digits.train[:32]


@torch.no_grad()
def outputs(defense: Defense, images: Images, hidden_layers: int = 0) -> Tensor:
    front = front_of(defense, images, hidden_layers).eval()
    return front.forward(images.pixels)


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_has_the_announced_width(name: str, threat: str, images: Images) -> None:
    defense = small(name)
    output = outputs(defense, images, THREATS[threat])
    for phase in Phase:
        leaving = defense.protect(output, generator(0, "protect"), phase)
        assert leaving.shape == (len(images), defense.released(WIDTH))
        assert leaving.dtype == torch.float32
        assert torch.isfinite(leaving).all()
    assert defense.expected(output).shape == leaving.shape


@pytest.mark.parametrize("name", NAMES)
def test_a_front_that_says_so_is_never_negative(name: str, images: Images) -> None:
    defense = small(name)
    for hidden_layers in THREATS.values():
        output = outputs(defense, images, hidden_layers)
        assert front_of(defense, images).nonnegative == bool((output >= 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_the_front_repeats_under_a_seed(name: str, images: Images) -> None:
    prints = [
        fingerprint(small(name).build_front(FrontSpec(images.shape, WIDTH), generator(seed, "front")).state_dict())
        for seed in (0, 0, 1)
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("name", NAMES)
def test_only_a_randomized_defense_depends_on_the_seed(name: str, phase: Phase, images: Images) -> None:
    defense = small(name)
    output = outputs(defense, images)
    one, again, other = (defense.protect(output, generator(seed, "protect"), phase) for seed in (0, 0, 1))
    draws = defense.randomized and phase not in quick(name).silent
    assert torch.equal(one, again)
    assert torch.equal(one, other) != draws


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_whole_front(name: str, threat: str, images: Images) -> None:
    defense = small(name)
    front = front_of(defense, images, THREATS[threat]).train()
    leaving = defense.protect(front(images.pixels), generator(0, "protect"), Phase.TRAIN)
    direction = torch.randn(leaving.shape, generator=generator(0, "direction"))
    (leaving * direction).sum().backward()  # type: ignore[no-untyped-call]
    for parameter_name, parameter in front.body.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.norm() > 0, parameter_name
    assert all(parameter.grad is None for parameter in front.stem.parameters())


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_expected_output_is_the_mean_over_draws(name: str, images: Images) -> None:
    draws = 4000
    defense = small(name)
    output = outputs(defense, images)[:3]
    many = defense.protect(output.repeat_interleave(draws, dim=0), generator(0, "protect"), Phase.AUDIT)
    sample = many.view(3, draws, -1)
    error = (sample.mean(dim=1) - defense.expected(output)).abs()
    assert bool((error <= 5 * sample.std(dim=1) / draws**0.5).all())


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(MECHANISMS)))
def test_without_randomness_the_expected_output_is_the_output(name: str, images: Images) -> None:
    defense = small(name)
    output = outputs(defense, images)
    assert torch.equal(defense.protect(output, generator(0, "protect"), Phase.AUDIT), defense.expected(output))


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", NAMES)
def test_an_extra_term_is_a_finite_scalar_that_moves_the_front(name: str, threat: str, images: Images) -> None:
    defense = small(name)
    made = defense.generate(images, generator(0, "generate"))
    pixels, labels = torch.cat([images.pixels, made.pixels]), torch.cat([images.labels, made.labels])
    front = front_of(defense, images, THREATS[threat]).train()
    output, hidden = front.trace(front.stem(pixels))
    term = defense.regularizer(TrainingBatch(pixels, labels, output, hidden, front))
    if term is None:
        assert not any(way == "regularizer" for way in breaks(name))
        return
    assert term.numel() == 1
    assert torch.isfinite(term)
    gradients = torch.autograd.grad(term, trainable(front.body), allow_unused=True)
    assert sum(float(g.norm()) for g in gradients if g is not None) > 0


@pytest.mark.parametrize("name", NAMES)
def test_as_many_images_are_generated_as_announced(name: str, digits: data.Splits) -> None:
    own = digits.train[:96]
    one, again = (small(name).generate(own, generator(0, "generate")) for _ in range(2))
    check_generated(small(name), own, one)
    assert torch.equal(one.pixels, again.pixels)
    assert torch.equal(one.labels, again.labels)
    assert bool(((one.labels >= 0) & (one.labels < len(own.classes))).all())


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", NAMES)
def test_the_gate_passes_on_an_honest_run(name: str, threat: str, job_of: JobOf, shares: Shares) -> None:
    job = short(job_of, name, threat=threat)
    evidence = audited(job, few(shares))
    verdict = gate(job, evidence)
    assert verdict.passed, verdict.detail
    figures = job.defense().figures(evidence)
    assert all(torch.isfinite(torch.tensor(value)) for value in figures.values()), figures


@pytest.mark.parametrize(("name", "way"), [(name, way) for name in NAMES for way in breaks(name)])
def test_the_gate_fails_on_a_broken_defense(
    name: str, way: str, job_of: JobOf, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(name)[way](monkeypatch)
    job = short(job_of, name)
    verdict = gate(job, audited(job, few(shares)))
    assert not verdict.passed, verdict.detail


def short(job_of: JobOf, name: str, **tables: object) -> Job:
    """A job of one round, five steps each for two clients."""
    federation = {"clients": CLIENTS, "rounds": 1, "batch_size": 32}
    return job_of(name, options=dict(quick(name).options), data={"train": 320}, federation=federation, **tables)


def few(shares: Shares) -> Shares:
    return [ClientImages(share.train, share.test[:8]) for share in shares[:CLIENTS]]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    kind = DEFENSES[name]
    assert kind.name == name
    assert kind.about
    assert "\n" not in kind.about
    assert kind.source
    assert inspect.getdoc(kind) != inspect.getdoc(Defense)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_documented(name: str) -> None:
    options = DEFENSES[name].Options
    documented: set[str] = set()
    for ancestor in options.__mro__:
        if issubclass(ancestor, Options) and ancestor is not Options:
            documented |= documented_fields(ancestor)
    assert set(options.model_fields) <= documented


def documented_fields(kind: type) -> set[str]:
    """The fields of this class that a string follows."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
