"""Differentially private training (Abadi et al. 2016, "Deep learning with differential privacy", arXiv 1607.00133),
against reconstruction as in Hayes et al. 2023, "Bounding training data reconstruction in DP-SGD", arXiv 2302.07225."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from splitfed.defenses.accounting import INSTALL, epsilon, has_accountant
from splitfed.defenses.base import Defense, Figures, TapEvidence, TrainingPlan
from splitfed.defenses.per_sample import PerSampleGradients
from splitfed.metrics.findings import Finding, is_identity, noise_scale_within
from splitfed.options import Options

ROUNDING = 1e-4
"""By how much, relatively, a clipped norm may pass its bound in float32."""


class DPSGDOptions(Options):
    """Options of `DPSGD`; defaults as the code of arXiv 2403.14772 trains it."""

    noise_multiplier: float = Field(default=1.1, gt=0)
    """σ: standard deviation of the noise in units of `clip`."""
    clip: float = Field(default=1.0, gt=0)
    """C: how long the gradient of one sample may be, front and back together."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """δ of (ε, δ)-differential privacy; should be well below one over a client's images."""


class DPSGD(Defense):
    """Clips every sample's gradient and adds Gaussian noise to their sum, in the fronts and in the backs.

    **One mechanism on two machines.** A sample's gradient is the pair (front's, back's). Each side clips its own part
    to C/√2, so the pair is at most √(C²/2 + C²/2) = C long, and adds N(0, (σC)²) to every coordinate of its sum. Put
    side by side that is one Gaussian mechanism of sensitivity C and noise σC over all coordinates: the σ that is
    stated is the σ that is accounted for, and neither side has to tell the other a norm. The pair is a sum over
    samples because nothing mixes them: layers that do are refused, and so is the codec `int8`, whose scale is that of
    a whole batch.

    **What ε covers.** The weights: those of all rounds, of front and back, toward whoever sees only weights. Between
    clients the largest ε counts, since each image is with one client only. It does not cover what travels: activations
    and labels leave as they are, and an attacker at the tap reads them. Nor does it cover the figures that are
    measured for the report, and the noise is drawn from the run's seed, so that runs repeat: a deployment needs secret
    seeds.

    **Sampling.** Batches are shuffled, not Poisson-sampled. ``epsilon`` is computed as if they were Poisson-sampled,
    as is common; for shuffling it is an estimate, and can be too low (Chua et al. 2024, "How private are DP-SGD
    implementations?", arXiv 2403.17673). ``epsilon_without_sampling`` claims nothing from chance and holds for any
    order: each image takes part once per epoch, so it is that of one full-batch step per epoch (neighbors: an image
    is replaced by one with gradient 0).

    In a stack, ε does not cover what another layer makes of the images before training, such as a dictionary.
    """

    name = "dpsgd"
    about = "per-sample clipping and Gaussian noise on all gradients (DP-SGD)"
    source = "Abadi et al. 2016, arXiv 1607.00133; Hayes et al. 2023, arXiv 2302.07225"
    per_sample = True
    Options = DPSGDOptions
    options: DPSGDOptions

    def __init__(self, options: DPSGDOptions) -> None:
        super().__init__(options)
        self._tally = _Tally()

    @property
    def bound(self) -> float:
        """How long each side's part of a sample's gradient may be: C/√2."""
        return self.options.clip / math.sqrt(2)

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise on the sum of a batch's clipped gradients: σC."""
        return self.options.noise_multiplier * self.options.clip

    def backward(
        self,
        module: nn.Module,
        inputs: Tensor,
        output: Tensor,  # noqa: ARG002 - the gradients per sample take a forward pass of their own
        gradient: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Add the mean of the clipped gradients, with noise, to the gradients of all parameters.

        Raises:
            UserError: `module` mixes samples, or is not made of linear layers.
        """
        samples = len(gradient)
        own = PerSampleGradients(module, inputs, gradient * samples)  # of each sample's own loss, not the mean's part
        norms = own.norms()
        factors = (self.bound / norms).clamp(max=1)
        self._tally.add_clipping(factors, longest=_clipped_length(own, int(norms.argmax()), factors))
        for parameter, total in own.weighted_sum(factors):
            noisy = torch.empty_like(total).normal_(0, self.noise_scale, generator=generator).add_(total)
            mean = noisy.div_(samples)
            parameter.grad = mean if parameter.grad is None else parameter.grad + mean
            self._tally.add_noise(total.neg_().add_(mean, alpha=samples))

    def measures(self) -> Figures:
        """Of all of the client's steps in this round: what `_Tally.figures` says."""
        return self._tally.figures()

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """Every client's gradients were clipped and noised as stated, and activations leave as they are."""
        measures = evidence.measures or [{}]
        found = [noise_scale_within(figures.get("noise_scale", 0.0), self.noise_scale) for figures in measures]
        found += [self._clipped(figures.get("longest_clipped", math.inf)) for figures in measures]
        found.append(is_identity(evidence.tapped, evidence.clean))
        if not has_accountant():
            found.append(Finding(True, f"no ε, because Opacus is not installed: {INSTALL}"))
        return found

    def figures(self, evidence: TapEvidence) -> Figures:
        """ε (the largest of all clients') where Opacus is installed, δ, σ, and the share of clipped gradients."""
        shares = [figures["clipped_share"] for figures in evidence.measures if "clipped_share" in figures]
        return {
            **(self._epsilons(evidence.plan) if has_accountant() else {}),
            "delta": self.options.delta,
            "noise_multiplier": self.options.noise_multiplier,
            **({"clipped_share": sum(shares) / len(shares)} if shares else {}),
        }

    def _clipped(self, longest: float) -> Finding:
        acts = longest <= self.bound * (1 + ROUNDING)
        return Finding(acts, f"longest clipped gradient {longest:.4g}, at most {self.bound:.4g} wanted")

    def _epsilons(self, plan: TrainingPlan) -> dict[str, float]:
        """The largest of all clients': of those that train equally often, that of the one with the fewest images, which
        is in a batch most often. Nothing is claimed from the draw of clients: who has the seed can repeat it."""
        fewest: dict[int, int] = {}
        for images, epochs in zip(plan.images, plan.epochs, strict=True):
            fewest[epochs] = min(images, fewest.get(epochs, images))
        sampled = [
            self._epsilon(min(plan.batch_size / images, 1.0), epochs * math.ceil(images / plan.batch_size))
            for epochs, images in fewest.items()
            if epochs
        ]
        return {"epsilon": max(sampled), "epsilon_without_sampling": self._epsilon(1.0, max(fewest))}

    def _epsilon(self, sample_rate: float, steps: int) -> float:
        return epsilon(
            noise_multiplier=self.options.noise_multiplier,
            sample_rate=sample_rate,
            steps=steps,
            delta=self.options.delta,
        )


def _clipped_length(own: PerSampleGradients, sample: int, factors: Tensor) -> float:
    """How long this sample's clipped gradient is: measured on the gradient itself, since `own.norms` may be wrong."""
    alone = torch.zeros_like(factors)
    alone[sample] = factors[sample]
    return float(torch.nn.utils.get_total_norm([part for _, part in own.weighted_sum(alone)]))


class _Tally:
    """Sums over a client's steps in one round."""

    def __init__(self) -> None:
        self._samples = 0
        self._clipped = 0
        self._longest = 0.0
        self._noise_squared = 0.0
        self._noise_count = 0

    def add_clipping(self, factors: Tensor, *, longest: float) -> None:
        """By what each sample's gradient was multiplied, (B,), and how long the longest is then."""
        self._samples += len(factors)
        self._clipped += int((factors < 1).sum())
        self._longest = max(self._longest, longest)

    def add_noise(self, noise: Tensor) -> None:
        """What the sum that a parameter's gradient is the mean of has beyond the clipped gradients."""
        self._noise_squared += float(torch.linalg.vector_norm(noise, dtype=torch.float64)) ** 2
        self._noise_count += noise.numel()

    def figures(self) -> Figures:
        """The share of clipped samples, the longest gradient after clipping, the noise's root mean square."""
        if not self._samples:
            return {}
        return {
            "clipped_share": self._clipped / self._samples,
            "longest_clipped": self._longest,
            "noise_scale": math.sqrt(self._noise_squared / self._noise_count),
        }
