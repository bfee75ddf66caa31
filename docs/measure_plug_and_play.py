"""Print the tables of docs/plug_and_play.md: what each access finds, what stands beside it, and what the controls say.

    python docs/measure_plug_and_play.py [--data medical_mnist] [--images 6000] [--seed 0] [--quick]

One network without a federation: front and back of the main job, trained by Adam on one machine. About ten minutes on
one core, a minute with --quick; the extra ``fid`` brings the features of a network that belongs to neither party.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed import data, generators
from splitfed.defenses.laplace import laplace
from splitfed.generators.disjoint import overlap
from splitfed.inversion import ClassInversion, PlugAndPlayOptions, invert
from splitfed.inversion.oracle import Classifier
from splitfed.metrics import inversion_gates as gates
from splitfed.metrics.class_inversion import Agreement, FoundClass, agreement
from splitfed.metrics.evaluator import Evaluator, train_evaluator
from splitfed.metrics.feature_networks import FeatureNetwork, Lite0Network
from splitfed.metrics.fid import FrechetMetric
from splitfed.metrics.gates import GateResult
from splitfed.metrics.inversion_controls import control_images, random_pairs
from splitfed.metrics.neighborhoods import features_of, memorization, neighborhoods
from splitfed.models.back import Back
from splitfed.models.front import PlainFront, initialize
from splitfed.types import Images

WIDTH = 500
EPOCHS = 10
NOISE = 0.5
"""b of the row with Laplace noise on the activation, at training and at inference."""


class Lab(NamedTuple):
    """What the rows of the table share."""

    splits: data.Splits
    held_out: Images
    evaluator: Evaluator
    options: PlugAndPlayOptions
    seed: int

    @property
    def classes(self) -> tuple[str, ...]:
        return self.splits.train.classes

    def draws(self, purpose: int) -> torch.Generator:
        """A generator of its own for each purpose."""
        return torch.Generator().manual_seed(1000 * self.seed + purpose)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="print the tables of docs/plug_and_play.md")
    parser.add_argument("--data", default="medical_mnist")
    parser.add_argument("--size", type=int, help="edge of the images, by default the data set's own")
    parser.add_argument("--images", type=int, default=6000, help="of the victims, and as many for everybody else")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer images, and no feature network")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lab = prepared(given.data, given.size, 1200 if given.quick else given.images, given.seed, quick=given.quick)
    target = measure_rows(lab)
    measure_held_out_classes(lab, target)
    if not given.quick:
        measure_sets(lab, target, Lite0Network())


def prepared(name: str, size: int | None, images: int, seed: int, *, quick: bool) -> Lab:
    """Split the data, and train the evaluation model on images of nobody else's."""
    splits = data.split(data.load(name, image_size=size), train=images, aux=images, test=2 * images, seed=seed)
    own, held_out = splits.test[:images], splits.test[images:]
    evaluator = train_evaluator(own, epochs=6, draws=torch.Generator().manual_seed(seed + 1))
    print(f"{name}, {images:,} images each; evaluation model: accuracy {evaluator.accuracy:.3f}")
    options = PlugAndPlayOptions(
        pool_size=600 if quick else 2000, candidates=48, kept=12, steps=50, transforms=30, label_steps=10
    )
    return Lab(splits, held_out, evaluator, options, seed)


# the victim


class Whole(nn.Module):
    """Front, the noise of a defense, and back."""

    def __init__(self, lab: Lab, noise: float) -> None:
        super().__init__()
        self.front = PlainFront(lab.splits.train.shape, WIDTH)
        self.back = Back(WIDTH, WIDTH, len(lab.classes))
        self._noise, self._draws = noise, lab.draws(1)
        initialize(self, lab.draws(2))

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores (B, K)."""
        activation = self.front(pixels)
        if self._noise:
            activation = activation + laplace(activation.shape, self._noise, self._draws)
        scores: Tensor = self.back(activation)
        return scores


def trained(lab: Lab, noise: float = 0.0, epochs: int = EPOCHS) -> Whole:
    """The classifier, frozen; of no epochs, one that knows nothing."""
    network, images = Whole(lab, noise), lab.splits.train
    optimizer, draws = torch.optim.Adam(network.back.parameters(), fused=True), lab.draws(3)
    optimizer.add_param_group({"params": list(network.front.body.parameters())})
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(images), generator=draws), 64):
            loss = F.cross_entropy(network(images.pixels[rows]), images.labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval().requires_grad_(False)


def accuracy(network: nn.Module, images: Images) -> float:
    """On these images, in [0, 1]."""
    return float((network(images.pixels).argmax(dim=1) == images.labels).double().mean())


def served(network: nn.Module, access: str) -> Classifier:
    """What the attacker gets to see of it."""
    serve: dict[str, Classifier] = {
        "gradients": network,
        "query": lambda images: network(images).softmax(dim=1),
        "label": lambda images: network(images).argmax(dim=1),
    }
    return serve[access]


# the table


def measure_rows(lab: Lab) -> Whole:
    """One row per target, access, and generator; gives the undefended target."""
    aux = lab.splits.aux
    mixture, labeled = fitted(lab, aux), fitted(lab, aux, labeled=True)
    plain, noisy, untrained = trained(lab), trained(lab, NOISE), trained(lab, epochs=0)
    print(f"target: accuracy {accuracy(plain, lab.held_out):.3f}; with noise {accuracy(noisy, lab.held_out):.3f}\n")
    print("| target | access | generator | random | selection | final | lift over random | asked | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for access in ("gradients", "query", "label"):
        judged, _ = row(lab, "none", plain, access, "mixture", mixture)
        told([gates.inversion_lifts(judged.over_random, margin=0.5)])
    row(lab, f"laplace {NOISE:g}", noisy, "query", "mixture", mixture)
    judged, _ = row(lab, "untrained", untrained, "query", "mixture", mixture)
    told([gates.untrained_at_chance([judged.confusion])])
    row(lab, "none", plain, "query", "mixture, labeled", labeled)
    row(lab, "untrained", untrained, "query", "mixture, labeled", labeled)
    found = overlap(mixture.provenance(), lab.splits.train)
    told([gates.prior_disjoint(found, near_is_overlap=False)])
    return plain


def measure_held_out_classes(lab: Lab, target: Whole) -> None:
    """Each class in turn is missing from what the generator was fitted to: can it be found all the same?"""
    aux = lab.splits.aux
    print("\n| class that the generator never saw | target | evaluation model | |\n|---|---|---|---|")
    for label, name in enumerate(lab.classes):
        without = fitted(lab, aux[aux.labels != label])
        found = attack(lab, target, "query", without, labels=[label])
        (judged,) = judge(lab, target, found).classes
        verdict = "adversarial, not inverted" if judged.adversarial else ""
        print(f"| {name} | {judged.target_confidence:.2f} | {judged.share:.2f} | {verdict} |", flush=True)


def fitted(lab: Lab, images: Images, *, labeled: bool = False) -> generators.ImageGenerator:
    """A mixture of these images."""
    mixture = generators.build("mixture", {"labeled": labeled})
    mixture.prepare(images, lab.draws(4))
    return mixture


def row(
    lab: Lab, title: str, network: nn.Module, access: str, prior: str, generator: generators.ImageGenerator
) -> tuple[Agreement, ClassInversion]:
    """Attack, judge, and print a line of the table."""
    began = time.process_time()
    found = attack(lab, network, access, generator)
    seconds = time.process_time() - began
    judged = judge(lab, network, found)
    random, start = (
        sum(getattr(each, name) for each in judged.classes) / len(judged.classes)
        for name in ("random_share", "start_share")
    )
    low, high = judged.over_random.ci95
    lift = f"{judged.over_random.value:+.2f} [{low:+.2f}, {high:+.2f}]"
    counted = f"{found.asked:,} | {seconds:.0f}"
    print(
        f"| {title} | {access} | {prior} | {random:.3f} | {start:.3f} | {judged.share:.3f} | {lift} | {counted} |",
        flush=True,
    )
    return judged, found


def attack(
    lab: Lab,
    network: nn.Module,
    access: str,
    generator: generators.ImageGenerator,
    labels: Sequence[int] | None = None,
) -> ClassInversion:
    """By this access, for these classes; by default for all."""
    options = lab.options.model_copy(update={"access": access})
    target, classes = served(network, access), len(lab.classes)
    return invert(target, generator, classes=classes, options=options, draws=lab.draws(5), labels=labels)


def judge(lab: Lab, network: nn.Module, found: ClassInversion) -> Agreement:
    """What the evaluation model says of it."""
    classes = [FoundClass(each.label, each.images, each.starts, each.random) for each in found.classes]
    return agreement(classes, evaluator=lab.evaluator.probabilities, target=served(network, "query"), seed=lab.seed)


def told(results: Sequence[GateResult]) -> None:
    """Gates that do not pass; those that do need no word."""
    for gate in results:
        if not gate.passed:
            print(f"GATE {gate.name} FAILED: {gate.detail}")


# sets of images


def measure_sets(lab: Lab, target: Whole, network: FeatureNetwork) -> None:
    """How like the private images all that is: in features of neither party, and by pairs."""
    mixture = fitted(lab, lab.splits.aux)
    _, found = row(lab, "none", target, "query", "mixture", mixture)
    images = torch.cat([each.images for each in found.classes])
    labels = torch.tensor([each.label for each in found.classes]).repeat_interleave(lab.options.kept)
    controls = control_images(lab.splits.aux, labels, draws=lab.draws(6))
    shown = {"found": images, "random samples": torch.cat([each.random for each in found.classes]), **controls}
    private, held_out = (features_of(network, some.pixels[:2000]) for some in (lab.splits.train, lab.held_out))
    print(
        "\n| images | evaluation model | PSNR dB of random pairs | SSIM | nearer to private images by | precision |",
        end="",
    )
    print(" recall | density | coverage |\n|---|---|---|---|---|---|---|---|---|")
    for name, some in shown.items():
        share = float((lab.evaluator.probabilities(some).argmax(dim=1) == labels).double().mean())
        pairs = random_pairs(some, labels, lab.splits.train, lab.splits.aux, draws=lab.draws(7))
        features = features_of(network, some)
        near = memorization(features, private, held_out, draws=lab.draws(8))
        low, high = near.difference_ci95
        around = neighborhoods(private, features)
        print(
            f"| {name} | {share:.3f} | {pairs.psnr_db:.1f} | {pairs.ssim:.3f} | {-near.difference:+.2f} "
            f"[{-high:+.2f}, {-low:+.2f}] | {around.precision:.2f} | {around.recall:.2f} | {around.density:.2f} | "
            f"{around.coverage:.2f} |"
        )
    measure_frechet(lab, mixture, network)


def measure_frechet(lab: Lab, generator: generators.ImageGenerator, network: FeatureNetwork) -> None:
    """The generator itself against held-out images, and the floor: real images against these."""
    metric = FrechetMetric("fid_lite0", network)
    count = min(len(lab.held_out), len(lab.splits.aux))
    if count < metric.needed:
        print(f"\n{metric.requirement}, here are {count:,}")
        return
    originals = lab.held_out.pixels[:count]
    made = generators.images_of(generator, generator.sample(count, lab.draws(9)))
    ours, floor = (metric(some, originals) for some in (made, lab.splits.aux.pixels[:count]))
    print(f"\nfid_lite0 at n {count:,}: mixture {ours:.0f}, real images {floor:.0f}")


if __name__ == "__main__":
    main()
