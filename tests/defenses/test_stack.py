"""A stack does what its layers do, and refuses what would not be that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.defenses import DEFENSES, Defense, build
from splitfed.defenses.base import Figures, TapEvidence, TrainingBatch
from splitfed.defenses.laplace import Laplace
from splitfed.defenses.none import NoDefense
from splitfed.defenses.stack import Stack
from splitfed.errors import ScenarioError
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.metrics.findings import Finding, regularizer_acts
from splitfed.models.front import Front, FrontSpec, PlainFront
from splitfed.models.sparse_front import SparseFront
from splitfed.seeding import generator
from splitfed.types import Images, ImageShape, Phase
from splitfed.views.summary import label
from tests.defenses.audit import audited, gate

JobOf = Callable[..., Job]
ScenarioOf = Callable[..., Scenario]
SPEC = FrontSpec(ImageShape(1, 8, 8), width=24)
LAPLACE = {"name": "laplace", "scale": 0.2}
SCA = {"name": "sca", "l1_weight": 0.25}


class Shrinking(NoDefense):
    """A defense with an extra term: the mean square of the output."""

    name = "shrinking"

    def regularizer(self, batch: TrainingBatch) -> torch.Tensor:
        return batch.output.square().mean()

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        return [regularizer_acts(evidence.measures)]

    def figures(self, evidence: TapEvidence) -> Figures:  # noqa: ARG002
        return {"weight": 1.0}


class Idle(Shrinking):
    """The same term, but as a plain number."""

    name = "idle"

    def regularizer(self, batch: TrainingBatch) -> torch.Tensor:
        return super().regularizer(batch).detach()


class Doubling(NoDefense):
    """Trains on every image once more; prepares in two rounds, and counts them."""

    name = "doubling"
    prepared = 0

    def prepare_rounds(self) -> int:
        return 2

    def prepare(self, front: Front, pixels: torch.Tensor, generator: torch.Generator) -> None:  # noqa: ARG002
        self.prepared += 1

    def generated(self, images: int) -> int:
        return images

    def generate(self, images: Images, generator: torch.Generator) -> Images:  # noqa: ARG002
        return images

    def measures(self) -> Figures:
        return {"prepared": self.prepared}


class Clipping(NoDefense):
    """A defense with gradients of its own."""

    name = "clipping"

    def backward(self, *arguments: Any) -> None:
        super().backward(*arguments)


@pytest.fixture(autouse=True)
def _more_defenses(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Shrinking, Idle, Doubling, Clipping):
        monkeypatch.setitem(DEFENSES, kind.name, kind)


def stack(*layers: Mapping[str, Any] | str) -> Stack:
    tables = [{"name": layer} if isinstance(layer, str) else dict(layer) for layer in layers]
    built = build("stack", {"layers": tables})
    assert isinstance(built, Stack)
    return built


def batch_of(front: Front) -> TrainingBatch:
    pixels = torch.rand(8, 1, 8, 8, generator=generator(0, "pixels"))
    output, hidden = front.trace(front.stem(pixels))
    return TrainingBatch(pixels, torch.arange(8), output, hidden, front)


def test_the_front_is_that_of_the_layer_that_brings_one() -> None:
    both = stack(SCA, LAPLACE).build_front(SPEC, generator(0, "front"))
    alone = build("sca", {"l1_weight": 0.25}).build_front(SPEC, generator(0, "front"))
    assert isinstance(both, SparseFront)
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in both.state_dict().items())
    assert isinstance(stack(LAPLACE).build_front(SPEC, generator(0, "front")), PlainFront)


def test_what_leaves_is_what_the_mechanism_makes() -> None:
    output = torch.rand(4, 24)
    draws = [
        defense.protect(output, generator(0, "protect"), Phase.TRAIN)
        for defense in (stack(SCA, LAPLACE), build("laplace", {"scale": 0.2}))
    ]
    assert torch.equal(*draws)


def test_the_bottleneck_of_a_layer_sets_the_width() -> None:
    assert stack("sca_noise", "shrinking").released(500) == 8
    mid = stack("mid", "shrinking")
    output = mid.build_front(SPEC, generator(0, "front"))(torch.rand(2, 1, 8, 8))
    assert mid.expected(output).shape == mid.protect(output, generator(0, "p"), Phase.TEST).shape == (2, 24)


@pytest.mark.parametrize(("layers", "randomized"), [([SCA], False), ([SCA, LAPLACE], True), (["none"], False)])
def test_a_stack_is_randomized_if_a_layer_is(layers: Sequence[Any], randomized: bool) -> None:
    assert stack(*layers).randomized is randomized


def test_extra_terms_add_up() -> None:
    front = PlainFront(SPEC.shape, SPEC.width)
    once = stack("shrinking", LAPLACE).regularizer(batch_of(front))
    twice = stack("shrinking", "shrinking").regularizer(batch_of(front))
    assert once is not None
    assert twice is not None
    assert torch.allclose(twice, 2 * once)
    assert stack(SCA, LAPLACE).regularizer(batch_of(front)) is None


def test_generated_images_come_together(digits: data.Splits) -> None:
    own = digits.train[:5]
    two = stack("doubling", LAPLACE, "doubling")
    made = two.generate(own, generator(0, "generate"))
    assert two.generated(5) == len(made) == 10
    assert torch.equal(made.pixels, own.pixels.repeat(2, 1, 1, 1))
    assert torch.equal(made.labels, own.labels.repeat(2))


def test_each_layer_prepares_in_its_own_rounds() -> None:
    both = stack({**SCA, "first_rounds": 3, "first_steps": 1}, "doubling")
    front = both.build_front(SPEC, generator(0, "front"))
    before = front.stem.state_dict()["dictionary"].clone()
    assert both.prepare_rounds() == 3
    prepared = []
    for number in (3, 1):  # a client may miss one
        own = both.begin_round(number)
        own.prepare(front, torch.rand(4, 1, 8, 8), generator(number, "prepare"))
        prepared.append(own.measures()["layer1.prepared"])
    assert prepared == [0, 1]
    assert not torch.equal(front.stem.state_dict()["dictionary"], before)


@pytest.mark.parametrize("threat", ["split", "end_to_end"])
def test_the_gate_passes_where_every_layer_acts(threat: str, job_of: JobOf, shares: Sequence[ClientImages]) -> None:
    job = job_with(job_of, "shrinking", LAPLACE, "doubling", "shrinking", threat=threat)
    evidence = audited(job, shares)
    verdict = gate(job, evidence)
    assert verdict.passed, verdict.detail
    assert evidence.plan.images == (320, 320, 320)
    assert "laplace: noise scale" in verdict.detail
    assert job.defense().figures(evidence) == {"weight": 1.0, "shrinking_weight": 1.0}


@pytest.mark.parametrize("layers", [("shrinking", "idle"), ("idle", "shrinking", LAPLACE), ("idle",)])
def test_a_term_without_gradient_does_not_hide_behind_another(
    layers: Sequence[Any], job_of: JobOf, shares: Sequence[ClientImages]
) -> None:
    job = job_with(job_of, *layers)
    verdict = gate(job, audited(job, shares))
    assert not verdict.passed
    assert "idle" in verdict.detail
    assert "shrinking" not in verdict.detail


def test_a_layer_that_does_nothing_does_not_hide_behind_another(
    job_of: JobOf, shares: Sequence[ClientImages], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Laplace, "protect", Defense.protect)
    job = job_with(job_of, "shrinking", LAPLACE)
    verdict = gate(job, audited(job, shares))
    assert not verdict.passed
    assert verdict.detail.startswith("laplace: noise scale 0 measured, 0.2 stated")


def job_with(job_of: JobOf, *layers: Any, **tables: object) -> Job:
    written = [{"name": layer} if isinstance(layer, str) else layer for layer in layers]
    return job_of("stack", options={"layers": written}, federation={"rounds": 1}, **tables)


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([], "defense 'stack': layers is empty: name at least one defense"),
        (["sca", "sparse_standard"], "sca and sparse_standard do not go together: each brings a front of its own"),
        (["laplace", "gaussian"], "laplace and gaussian do not go together: each changes what leaves the client"),
        (["sca_noise", "laplace"], "sca_noise and laplace do not go together: each changes what leaves"),
        (["clipping", "clipping"], "clipping and clipping do not go together: each makes the gradients"),
        (["clipping", "shrinking"], "clipping and shrinking do not go together: the extra term's gradients would"),
        (["mid", "clipping"], "clipping and mid do not go together: the extra term's gradients would"),
        (["stack"], "a stack in a stack: write all layers into one list"),
        (["laplce"], r"defense 'stack': unknown defense 'laplce'; did you mean 'laplace'\? Known: "),
        ([{"name": "laplace", "scael": 1}], r"layer 'laplace': unknown key scael; did you mean scale\?"),
        ([{"name": "laplace", "scale": -1}], "layer 'laplace': scale = -1: Input should be greater than 0"),
        ([{"name": "laplace", "label": "noise"}], "layer 'laplace': unknown key label"),
        ([{"scale": 1}], r"layers\.0\.name is missing"),
        ("sca", "layers = 'sca': Input should be a valid tuple"),
    ],
)
def test_a_scenario_says_what_does_not_fit(layers: Any, says: str, scenario_of: ScenarioOf) -> None:
    tables = [{"name": layer} if isinstance(layer, str) else layer for layer in layers]
    written = layers if isinstance(layers, str) else tables
    with pytest.raises(ScenarioError, match=says):
        scenario_of(defense=[{"name": "stack", "layers": written}])


def test_layers_are_required() -> None:
    with pytest.raises(ValidationError, match="layers"):
        build("stack", {})


def test_cells_and_rows_read_like_their_layers(scenario_of: ScenarioOf) -> None:
    layers = [{"name": "sca", "l1_weight": 0.5}, {"name": "laplace"}]
    other = [{"name": "sca", "l1_weight": 0.25}, {"name": "laplace"}]
    one = {"name": "stack", "layers": layers}
    assert [cell.name for cell in scenario_of(defense=[one]).cells()] == ["sca+laplace"]
    assert [cell.name for cell in scenario_of(defense=[{**one, "label": "both"}]).cells()] == ["both"]
    two = scenario_of(defense=[one, {"name": "stack", "layers": other}])
    assert [cell.name for cell in two.cells()] == ["sca+laplace-l1_weight0.5", "sca+laplace-l1_weight0.25"]
    assert label("stack", two.defense[0].options) == "sca (l1_weight 0.5) + laplace"


def test_a_stack_survives_the_way_to_another_process(job_of: JobOf) -> None:
    job = job_with(job_of, SCA, LAPLACE)
    defense = Job.from_config(job.config_of(0, job.to_config([]))).defense()
    assert isinstance(defense, Stack)
    assert [layer.name for layer in defense.layers] == ["sca", "laplace"]
    assert defense.layers[0].options.l1_weight == 0.25
