"""The client's role: its images stay in this process."""

from __future__ import annotations

import logging
import threading

import numpy as np
import torch

from splitfed import data
from splitfed.config.scenario import CLIENTS_OWN
from splitfed.data import Dataset
from splitfed.data.splits import distinct_images
from splitfed.errors import DataError
from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.order import SMALLEST_BATCH
from splitfed.federation.roster import ANY
from splitfed.federation.shares import find_images, shares, split_images
from splitfed.roles.config import ClientOptions, OwnImages
from splitfed.roles.health import Health
from splitfed.roles.node import FlowerNode
from splitfed.roles.scoring_client import ScoringClient
from splitfed.seeding import seed_for
from splitfed.types import Images

logger = logging.getLogger(__name__)


def play(settings: ClientOptions, stopped: threading.Event) -> None:
    """Take part in whatever is trained, until `stopped` is set.

    Raises:
        UserError: the SuperLink turns it away, or its files cannot be read.
    """
    torch.set_num_threads(1)  # as in a run on one machine: another number sums in another order
    number = ANY if settings.client == "any" else settings.client
    ready = threading.Event()
    held = HeldImages(settings)
    tls = settings.tls()
    own = None if tls is None else tls.channel_credentials()  # a mistake in the files is told now
    app = build_client_app(
        held,
        credentials=None if own is None else lambda _: own,
        addresses=settings.addresses,
        stopped=stopped.is_set,
    )
    app = ScoringClient(app, held, most=settings.scores)

    def say_ready() -> None:
        ready.set()
        logger.info("ready: registered with the SuperLink at %s", settings.superlink)

    with Health(settings.health, ready), FlowerNode(app, settings.membership(number), stopped) as node:
        node.serve(say_ready)


class HeldImages:
    """Finds the client's images; those of the present job are kept (`federation.client_app.ImagesOf`).

    Attributes:
        synthetic: whether those that are kept are drawn.
    """

    def __init__(self, settings: ClientOptions) -> None:
        self.synthetic = False
        self._settings = settings
        self._kept: tuple[object, ClientImages] | None = None
        self._lock = threading.Lock()

    def __call__(self, job: Job, number: int) -> ClientImages:
        """The images that this client trains on and is tested with.

        Raises:
            DataError: they cannot be found, or are not what the job is about.
        """
        own = self._settings.images is not None
        share = None if own else (job.cell.seed, job.scenario.federation.clients, number)
        key = (job.scenario.data, job.scenario.seed, share)
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                found = self._own(job) if own else self._share(job, number)
                self._kept = key, found
            if job.classes:  # else the run is only asking what clients hold
                _check_fit(self._kept[1].train, job)
            return self._kept[1]

    def _share(self, job: Job, number: int) -> ClientImages:
        """Its share, by number, of the scenario's data set."""
        if job.scenario.data.name == CLIENTS_OWN:
            raise DataError(
                "this run is of images that each client brings, and this one has none: name a folder of "
                "its own (images.folder)"
            )
        scenario = job.scenario
        if scenario.truth == "clients":  # nobody else sees the images: no results under another set's name
            scenario = scenario.model_copy(update={"data": scenario.data.model_copy(update={"fallback": None})})
        dataset = find_images(scenario, self._settings.data_root, on_notice=logger.warning)
        self.synthetic = dataset.synthetic
        return shares(job.scenario, split_images(job.scenario, dataset, job.cell.seed), job.cell.seed)[number]

    def _own(self, job: Job) -> ClientImages:
        """Its own folder, a part of it held out."""
        own = self._settings.images
        assert own is not None
        dataset = data.load("folder", path=own.folder, image_size=job.shape.height or job.scenario.data.image_size)
        self.synthetic = False
        trained, held_out = hold_out(dataset, own.held_out, job.scenario.seed)
        return ClientImages(_with_classes(trained, own), _with_classes(held_out, own))


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Images, Images]:
    """The images of a client in two parts, the second of about this share: no image is in both, nor any group.

    Raises:
        DataError: too few are left to train on.
    """
    rows = distinct_images(dataset)
    groups = rows if dataset.groups is None else dataset.groups[rows]
    rng = np.random.default_rng(seed_for(seed, "held out"))
    _, belongs = np.unique(groups, return_inverse=True)
    place = rng.permutation(belongs.max() + 1)[belongs]  # of each image's group in a random order
    counts = np.cumsum(np.bincount(place))
    wanted = max(1, round(share * len(rows)))
    last = int(np.searchsorted(counts, wanted))  # the group with which there are enough
    out = place <= last
    if (~out).sum() < SMALLEST_BATCH:
        raise DataError(f"{dataset.note}: {len(rows)} distinct images in {len(counts)} groups, too few to train on")
    return dataset.take(rng.permutation(rows[~out])), dataset.take(rng.permutation(rows[out]))


def _with_classes(images: Images, own: OwnImages) -> Images:
    """The images with labels that count through all classes of the task.

    Raises:
        DataError: a folder is called by no class of it.
    """
    if not own.classes:
        return images
    if unknown := sorted(set(images.classes) - set(own.classes)):
        raise DataError(f"{own.folder}: {', '.join(unknown)}: no class of images.classes ({', '.join(own.classes)})")
    places = torch.tensor([own.classes.index(name) for name in images.classes])
    return Images(images.pixels, places[images.labels], own.classes)


def _check_fit(images: Images, job: Job) -> None:
    """Refuse images of which this job can make nothing.

    Raises:
        DataError: another shape, or another number of classes.
    """
    if images.shape != job.shape:
        raise DataError(f"this client's images are {tuple(images.shape)}; this run is of {tuple(job.shape)}")
    if len(images.classes) != job.classes:
        raise DataError(
            f"this client's images have {len(images.classes)} classes; this run has {job.classes}: name them all in "
            "their order (images.classes)"
        )
