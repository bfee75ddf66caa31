"""Figure 6 of arXiv 2403.14772 on a run's own images: what two layers of three kinds keep of class and individual.

Three classifiers are trained centrally and alike. Behind their two linear, convolutional or sparse coding layers,
held-out images become features, which UMAP draws in a plane. As a picture proves nothing, the features themselves
are scored: by their nearest neighbors for the class, by a ridge regression for the image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.attacks.linear import fit_ridge
from splitfed.attacks.ridge import PENALTIES
from splitfed.config.recorded import recorded_scenario
from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.defenses.base import trainable
from splitfed.errors import UserError
from splitfed.experiment.images import load_images
from splitfed.experiment.threads import one_thread
from splitfed.files import as_path
from splitfed.metrics import class_mean, psnr_db, reid_top1
from splitfed.models.front import Front, initialize
from splitfed.models.sparse import learn_dictionary
from splitfed.models.sparse_front import SparseStemFront
from splitfed.models.two_layers import KERNEL_SIZE, L1_WEIGHT, TWO_LAYERS, Build, sparse_channels
from splitfed.records.bus import Bus, Subscriber
from splitfed.records.events import PrepareProgress
from splitfed.records.features import SCHEMA, FeatureRecord, FeatureSettings, NetworkFeatures
from splitfed.records.machine import package_version
from splitfed.records.store import RunStore
from splitfed.seeding import generator
from splitfed.types import Images

LEARNING_RATE = 1e-3
"""Of Adam, its default. Not the federation's SGD: that is set for heads on some hundred features, and at its rate the
classifiers on twenty thousand diverge."""
SHOWN = 1500
"""At most so many held-out images are embedded."""
NEIGHBORS = 15
"""As many as UMAP looks at by default."""
RIDGE_IMAGES = 2000
"""At most so many auxiliary images are what the reconstruction is fitted on, the same for all networks."""
RIDGE_NUMBERS = 50_000_000
"""At most so many features in all of them, 400 MB in float64: larger images mean fewer of them."""
VALIDATION_EVERY = 10
"""One of so many chooses the ridge penalty."""
DICTIONARY_STEPS, DICTIONARY_BATCH = 30, 64
"""Of the first dictionary: what each client of the defense `sca` does by default."""
BATCH = 256
"""Images per pass where nothing is learned."""

Embed = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""From features (n, d) and a seed to points (n, 2)."""


@dataclass(frozen=True)
class Plan:
    """How each classifier is trained and scored; the same for all of them.

    Attributes:
        seed: of every draw, and of UMAP.
        width: of the linear layers.
        epochs: over ``train``, in batches of ``batch`` images.
        shown: the held-out images whose features are embedded and scored.
        known: the attacker's own images, which the reconstruction is fitted on.
    """

    seed: int
    width: int
    epochs: int
    batch_size: int
    train: Images
    shown: Images
    known: Images


def umap_embedding() -> Embed:
    """UMAP with its defaults.

    Raises:
        UserError: umap-learn is not installed.
    """
    with warnings.catch_warnings():
        # without TensorFlow it warns of a variant that is not used here
        warnings.simplefilter("ignore", ImportWarning)
        try:
            import umap
        except ImportError:
            raise UserError("--features needs umap-learn: pip install 'splitfed[umap]'") from None

    def embed(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        # one job, which a seed asks for: else it warns that it takes one
        return np.asarray(umap.UMAP(random_state=seed, n_jobs=1).fit_transform(features), np.float32)

    return embed


def measure(
    store: RunStore,
    *,
    data_root: str | Path | None = None,
    embed: Embed | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> FeatureRecord:
    """Train the three classifiers on a run's own training images, and embed and score held-out ones.

    Args:
        store: the run; it is read, not changed.
        data_root: where to look for the data set first.
        embed: draws features in a plane; UMAP by default.
        subscribers: told of the progress.

    Raises:
        UserError: no umap-learn, images that cannot be found, or too few held-out ones.
    """
    embed = embed or umap_embedding()
    bus = Bus(*subscribers)
    scenario = recorded_scenario(store)
    if scenario.truth == "clients":
        raise UserError(f'{store.path}: --features needs the run\'s images, and its lab held none (truth = "clients")')
    root = None if data_root is None else as_path(data_root)
    plan = _plan(scenario, load_images(scenario, root, bus, of_run=store)[1])
    guess = class_mean(plan.known, plan.shown)
    with one_thread():
        networks = [_measure_network(layers, build, plan, embed, bus) for layers, build in TWO_LAYERS.items()]
    return FeatureRecord(
        schema=SCHEMA,
        classes=tuple(plan.shown.classes),
        labels=tuple(plan.shown.labels.tolist()),
        class_mean_psnr_db=float(psnr_db(guess, plan.shown.pixels).mean()),
        networks=tuple(networks),
        settings=_settings(plan),
    )


def knn_accuracy(features: NDArray[np.float32], labels: NDArray[np.int64], neighbors: int) -> float:
    """How often the most frequent class among an image's nearest others is its own, in [0, 1]; leave-one-out.

    Args:
        features: (n, d), compared by Euclidean distance, as UMAP does.
        labels: (n,).
        neighbors: how many vote; a draw goes to the class of the nearest among those that are level.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=neighbors, algorithm="brute").fit(features)
    votes = labels[search.kneighbors(return_distance=False)]  # asked without images, it leaves each one itself out
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    winners = votes[np.arange(len(votes)), counts.argmax(axis=1)]  # the first of the most frequent is the nearest
    return float((winners == labels).mean())


def ridge_reconstruction(known: Tensor, images: Images, features: Tensor) -> Tensor:
    """Images (N, C, H, W) in [0, 1] that a ridge regression makes of features (N, d).

    Args:
        known: features (m, d) of ``images``, from which it learns; some of them choose the penalty.
        images: the attacker's own.
        features: what it sees of others.
    """
    targets = images.pixels.flatten(1)
    apart = torch.arange(len(known)) % VALIDATION_EVERY == 0
    inverse = fit_ridge(
        [known[~apart]], targets[~apart], validation=(known[apart], targets[apart]), penalties=PENALTIES
    )
    return inverse(features).clamp(0, 1).reshape(-1, *images.shape)


def train_classifier(
    front: Front, head: nn.Linear, images: Images, plan: Plan, on_epoch: Callable[[int], None]
) -> None:
    """Train both together by cross-entropy, the images in the same order whatever the front."""
    with torch.no_grad():
        stems = _in_batches(front.stem, images.pixels)
    optimizer = torch.optim.Adam([*trainable(front.body), *head.parameters()], lr=LEARNING_RATE)
    for epoch in range(plan.epochs):
        front.train()
        order = torch.randperm(len(images), generator=generator(plan.seed, "features order", epoch))
        for rows in torch.split(order, plan.batch_size):
            if len(rows) == 1:
                continue  # batch norm has no variance there
            loss = F.cross_entropy(head(front.body(stems[rows])), images.labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            front.after_step(torch.ones(len(rows), dtype=torch.bool))
        on_epoch(epoch + 1)
    front.eval()


def _measure_network(layers: str, build: Build, plan: Plan, embed: Embed, bus: Bus) -> NetworkFeatures:
    def tell(what: str, done: int, total: int) -> None:
        bus.emit(PrepareProgress(cell=layers, what=what, done=done, total=total))

    front, head = _build(build, plan, tell)
    train_classifier(front, head, plan.train, plan, lambda epoch: tell("training, epoch", epoch, plan.epochs))
    with torch.no_grad():
        shown, known = _in_batches(front, plan.shown.pixels), _in_batches(front, plan.known.pixels)
        accuracy = float((head(shown).argmax(dim=1) == plan.shown.labels).double().mean())
    rebuilt = ridge_reconstruction(known, plan.known, shown)
    tell("reconstruction by ridge regression", 1, 1)
    points = embed(shown.numpy(), plan.seed)
    tell("embedding", 1, 1)
    return NetworkFeatures(
        layers=layers,
        features=shown.shape[1],
        accuracy=accuracy,
        knn_accuracy=knn_accuracy(shown.numpy(), plan.shown.labels.numpy(), NEIGHBORS),
        ridge_psnr_db=float(psnr_db(rebuilt, plan.shown.pixels).mean()),
        ridge_reid_top1=reid_top1(rebuilt, plan.shown.pixels, n=len(plan.shown)).rate,
        points=tuple((round(float(x), 3), round(float(y), 3)) for x, y in points),
    )


def _build(build: Build, plan: Plan, tell: Callable[[str, int, int], None]) -> tuple[Front, nn.Linear]:
    """A front and the linear layer that classifies its features; where it begins sparsely, with its dictionary."""
    front = build(plan.train.shape, plan.width, generator(plan.seed, "features front"))
    if isinstance(front, SparseStemFront):
        learn_dictionary(
            front.first_layer,
            plan.train.pixels,
            steps=DICTIONARY_STEPS,
            batch_size=DICTIONARY_BATCH,
            generator=generator(plan.seed, "features dictionary"),
            progress=lambda done, total: tell("first dictionary, step", done, total),
        )
    with torch.no_grad():
        features = front.eval()(plan.train.pixels[:1]).shape[1]
    head = nn.Linear(features, len(plan.train.classes))
    initialize(head, generator(plan.seed, "features head"))
    return front, head


def _plan(scenario: Scenario, splits: Splits) -> Plan:
    if len(splits.test) <= NEIGHBORS:
        raise UserError(
            f"the features of {len(splits.test)} held-out images say nothing: --features needs a run with data.test "
            f"above {NEIGHBORS}"
        )
    federation, shape = scenario.federation, splits.train.shape
    most_features = max(scenario.model.width, sparse_channels(shape) * shape.height * shape.width)
    return Plan(
        seed=scenario.seed,
        width=scenario.model.width,
        epochs=federation.rounds * federation.local_epochs,
        batch_size=federation.batch_size,
        train=splits.train,
        shown=splits.test[:SHOWN],
        known=splits.aux[: min(RIDGE_IMAGES, RIDGE_NUMBERS // most_features)],
    )


@torch.no_grad()
def _in_batches(module: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([module(batch) for batch in torch.split(inputs, BATCH)])


def _settings(plan: Plan) -> FeatureSettings:
    return FeatureSettings(
        seed=plan.seed,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        optimizer="Adam",
        learning_rate=LEARNING_RATE,
        train=len(plan.train),
        ridge=len(plan.known),
        neighbors=NEIGHBORS,
        l1_weight=L1_WEIGHT,
        kernel_size=KERNEL_SIZE,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    names = ("splitfed", "torch", "umap-learn")
    return {name: found for name in names if (found := package_version(name)) is not None}
