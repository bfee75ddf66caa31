"""Several defenses in one cell, one behind the other. In a scenario:

    [[defense]]
    name = "stack"
    layers = [{ name = "sca", l1_weight = 0.5 }, { name = "laplace" }]

`StackOptions` refuses layers that would not do together what each does alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor, nn

from splitfed.defenses.base import Defense, Figures, TapEvidence, TrainingBatch, trainable
from splitfed.defenses.registry import DEFENSES, build
from splitfed.metrics.findings import Finding
from splitfed.models.front import Front, FrontSpec
from splitfed.options import Options, explain
from splitfed.types import Channel, Images, Phase


class Layer(BaseModel):
    """One defense of a stack by name, with options that its own class validates."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, object]:
        """The layer's own options as written."""
        return dict(self.model_extra or {})


class StackOptions(Options):
    """Options of `Stack`."""

    layers: tuple[Layer, ...]
    """The defenses, from the image outwards, each a table of its name and its options."""

    @model_validator(mode="after")
    def _fit_together(self) -> StackOptions:
        if not self.layers:
            raise ValueError('layers is empty: name at least one defense, as in layers = [{ name = "laplace" }]')
        kinds = [_checked(layer) for layer in self.layers]
        for method, why in ONLY_ONE.items():
            names = [kind.name for kind in kinds if overrides(kind, method)]
            if len(names) > 1:
                raise ValueError(f"{' and '.join(names)} do not go together: {why}; leave out all but one of them")
        _check_gradients(kinds)
        return self


ONLY_ONE = {
    "build_front": "each brings a front of its own, and a network has one",
    "protect": "each changes what leaves the client, and no measurement at the tap could tell their noises apart",
    "backward": "each makes the gradients of the weights its own way",
}
"""What at most one layer of a stack may override, and why."""


def overrides(kind: type[Defense], method: str) -> bool:
    """Whether this defense has a method of its own instead of the one that changes nothing."""
    return getattr(kind, method) is not getattr(Defense, method)


def _checked(layer: Layer) -> type[Defense]:
    """The class of a layer whose name and options are valid."""
    if layer.name not in DEFENSES:
        raise ValueError(DEFENSES.why_not(layer.name, apart_from={Stack.name}))
    kind = DEFENSES[layer.name]
    if issubclass(kind, Stack):
        raise ValueError("a stack in a stack: write all layers into one list")
    try:
        kind.Options.model_validate(layer.options)
    except ValidationError as error:
        raise ValueError(explain(error, kind.Options, f"layer {layer.name!r}")) from None
    return kind


def _check_gradients(kinds: Sequence[type[Defense]]) -> None:
    """A layer's own `backward` bounds or perturbs the gradients of the loss; another's extra term would pass it by."""
    for kind in kinds:
        others = [other.name for other in kinds if other is not kind and overrides(other, "regularizer")]
        if overrides(kind, "backward") and others:
            raise ValueError(
                f"{kind.name} and {' and '.join(others)} do not go together: the extra term's gradients would not pass "
                f"through those that {kind.name} makes; leave out one of them"
            )


class Stack(Defense):
    """The layers' fronts, images, terms and mechanisms together.

    The one layer that brings a front of its own gives the front; the mechanisms are applied in order; extra terms add
    up; generated images are trained on together. The options refuse what would not be what its layers are.
    """

    name = "stack"
    about = "several defenses in one cell: layers = [{name = ...}, ...]"
    source = "the papers of its layers"
    Options = StackOptions
    unchanged = ("layers",)
    options: StackOptions

    def __init__(self, options: StackOptions) -> None:
        super().__init__(options)
        self.layers = tuple(build(layer.name, layer.options) for layer in options.layers)
        self.randomized = any(layer.randomized for layer in self.layers)
        self.per_sample = any(layer.per_sample for layer in self.layers)
        self._gradient_norms: dict[int, float] = {}

    def begin_round(self, number: int) -> Self:
        own = super().begin_round(number)
        own.layers = tuple(layer.begin_round(number) for layer in self.layers)
        return own

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> Front:
        layer = self._with_own("build_front")
        return layer.build_front(spec, generator) if layer else super().build_front(spec, generator)

    def released(self, width: int) -> int:
        for layer in self.layers:
            width = layer.released(width)
        return width

    def prepare_rounds(self) -> int:
        return max(layer.prepare_rounds() for layer in self.layers)

    def prepare(self, front: Front, pixels: Tensor, generator: torch.Generator) -> None:
        """Each layer prepares in as many rounds as it asked for."""
        for layer in self.layers:
            if self.round <= layer.prepare_rounds():
                layer.prepare(front, pixels, generator)

    def generated(self, images: int) -> int:
        return sum(layer.generated(images) for layer in self.layers)

    def generate(self, images: Images, generator: torch.Generator) -> Images:
        made = [layer.generate(images, generator) for layer in self.layers]
        pixels, labels = torch.cat([part.pixels for part in made]), torch.cat([part.labels for part in made])
        return Images(pixels, labels, images.classes)

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:
        for layer in self.layers:
            output = layer.protect(output, generator, phase)
        return output

    def regularizer(self, batch: TrainingBatch) -> Tensor | None:
        numbered = ((number, layer.regularizer(batch)) for number, layer in enumerate(self.layers))
        terms = {number: term for number, term in numbered if term is not None}
        if len(terms) > 1 and not self._gradient_norms:
            self._gradient_norms = {number: _gradient_norm(term, batch) for number, term in terms.items()}
        return torch.stack([term.reshape(()) for term in terms.values()]).sum() if terms else None

    def backward(
        self, module: nn.Module, inputs: Tensor, output: Tensor, gradient: Tensor, generator: torch.Generator
    ) -> None:
        layer = self._with_own("backward")
        run = layer.backward if layer else super().backward
        run(module, inputs, output, gradient, generator)

    def measures(self) -> Figures:
        """Each layer's, behind its number. Where terms add up, each one's gradient is measured by itself: of the sum
        alone, one term could hide that another has none."""
        found = {_numbered(number, "penalty_gradient_norm"): norm for number, norm in self._gradient_norms.items()}
        for number, layer in enumerate(self.layers):
            found |= {_numbered(number, name): value for name, value in layer.measures().items()}
        return found

    def expected(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Tensor:
        for layer in self.layers:
            output = layer.expected(output, phase)
        return output

    def channel(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Channel | None:
        """That of the one layer that changes what leaves the client."""
        layer = self._with_own("protect")
        return layer.channel(output, phase) if layer else None

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """Each layer's. A layer that leaves the output alone is judged without what another one did to it."""
        return [
            Finding(found.acts, f"{layer.name}: {found.detail}")
            for number, layer in enumerate(self.layers)
            for found in layer.findings(self._evidence_of(number, evidence))
        ]

    def figures(self, evidence: TapEvidence) -> Figures:
        """Each layer's, under its own names; where two layers use one name, the later one's is put before it."""
        found: dict[str, float] = {}
        for number, layer in enumerate(self.layers):
            own = layer.figures(self._evidence_of(number, evidence))
            found |= {f"{layer.name}_{name}" if name in found else name: value for name, value in own.items()}
        return found

    def _with_own(self, method: str) -> Defense | None:
        """The layer that overrides this method; the options let there be one at most."""
        return next((layer for layer in self.layers if overrides(type(layer), method)), None)

    def _evidence_of(self, number: int, evidence: TapEvidence) -> TapEvidence:
        changer = self._with_own("protect")
        by_another = changer is not None and changer is not self.layers[number]
        return replace(
            evidence,
            tapped=evidence.clean if by_another else evidence.tapped,
            measures=[_of_layer(number, figures) for figures in evidence.measures],
        )


def _numbered(number: int, name: str) -> str:
    return f"layer{number}.{name}"


def _of_layer(number: int, figures: Mapping[str, Any]) -> Figures:
    """The client's measures as this layer wrote them, over those that the whole stack shares."""
    prefix = _numbered(number, "")
    own = {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}
    return {**figures, **own}


def _gradient_norm(term: Tensor, batch: TrainingBatch) -> float:
    """Of one term's gradient with respect to what the front trains; 0 for a term without one."""
    if not term.requires_grad:
        return 0.0
    found = torch.autograd.grad(term, trainable(batch.front.body), retain_graph=True, allow_unused=True)
    present = [gradient for gradient in found if gradient is not None]
    return float(torch.nn.utils.get_total_norm(present)) if present else 0.0
