"""The tables of a scenario, each with its keys, their units and their defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from splitfed.data.source import Selection
from splitfed.options import Options


class DataOptions(Options):
    """Which images, how many, and how they are spread over the clients."""

    name: str
    """A data set (`splitfed datasets`); or "clients" where each client brings a folder of its own, which needs ``truth
    = "clients"``. Then `train` is the most images that they may hold together, `aux` and `test` mean nothing."""
    fallback: str | None = None
    """Data set to use, under a loud banner, when `name` cannot be found or downloaded; never with ``truth =
    "clients"``."""
    path: str | None = None
    """Where the images lie, for ``name = "folder"``."""
    attribute: str | None = None
    """What ``name = "celeba"`` is told apart by, such as "Smiling"; hair color in five classes by default."""
    class_level: int | None = Field(default=None, ge=1)
    """For ``name = "folder"``: the folder level whose names are the classes, 1 the outermost; found by default."""
    group_level: int | None = Field(default=None, ge=1)
    """For ``name = "folder"``: the folder level of patients or other groups, which the split then keeps apart."""
    include: tuple[str, ...] = ()
    """For ``name = "folder"``: patterns of the places to read, such as "COVID/*"; all by default."""
    exclude: tuple[str, ...] = ()
    """For ``name = "folder"``: patterns of the places to leave out, such as "*/masks/*"."""
    window: tuple[float, float] | None = None
    """Center and width for pixels of more than 8 bits; a file's own, or its range, by default."""
    image_size: int | None = Field(default=None, ge=8, le=512)
    """Edge of the square images, pixels; the data set's own by default."""
    split: Literal["content", "near_duplicate", "folders"] = "content"
    """Training, auxiliary and test images from all images by content; likewise, with no image in one of them that
    nearly equals one in another (35 dB); or the clients' from the folder (or array) named train, and the attacker's and
    the held-out ones from the others."""
    resplit: bool = True
    """Whether each of several seeds splits the images anew, so that what differs between seeds contains the choice of
    the images; ``false`` for one split in all seeds, which a deployment needs: its attacker is dealt its images
    once."""
    train: int = Field(default=6000, ge=1)
    """Victims' images, over all clients."""
    aux: int = Field(default=6000, ge=20)
    """The attacker's own images; none of them is a victim's."""
    test: int = Field(default=3000, ge=1)
    """Held-out images for the accuracy."""
    partition: Literal["iid", "dirichlet", "by_class"] = "iid"
    alpha: float = Field(default=0.5, gt=0)
    """Concentration of the Dirichlet partition; small values give clients different classes."""

    @model_validator(mode="after")
    def _window_is_wide(self) -> DataOptions:
        if self.window is not None and not self.window[1] > 0:
            raise ValueError(f"window = [center, width]: the width is {self.window[1]:g}; expected more than 0")
        return self

    @property
    def selection(self) -> Selection:
        """Which files are read, and what their folders mean."""
        return Selection(self.include, self.exclude, self.class_level, self.group_level, self.window)


class ModelOptions(Options):
    """The network, the same for every defense but for its front."""

    width: int = Field(default=500, ge=1)
    """Of the linear layers: d in DESIGN, section 4; also the numbers that leave the client per image, unless the
    defense says otherwise."""
    hidden_layers: int = Field(default=1, ge=0, le=8)
    """Linear layers between the first and the last. In the split threat the server holds them, in the end-to-end
    threat the client: there the last hidden layer is what leaves."""


class FederationOptions(Options):
    """Who trains, how long, with which optimizer. One setting for all defenses of a scenario."""

    clients: int = Field(default=3, ge=1, le=256)
    client_fraction: float = Field(default=1.0, gt=0, le=1)
    """The share of the clients that trains in a round, rounded, at least one; they are drawn anew for each round, from
    the seed. All clients prepare, are tested, and are audited."""
    rounds: int = Field(default=6, ge=1)
    local_epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=64, ge=2)
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD; the state starts anew each round, as the averaged weights do."""
    strategy: Literal["FedAvg", "FedMedian", "FedTrimmedAvg"] = "FedAvg"
    """A Flower strategy by its own name; it averages the fronts."""
    codec: str = "float32"
    variant: Literal["sflv1", "sflv2"] = "sflv1"
    """SplitFed v1: a back per client, averaged each round. v2: one back, updated by all steps as they arrive;
    with several clients two runs then need not end with the same weights."""
    labels: Literal["server", "client"] = "server"
    """Who computes the loss. "client" is U-shaped split learning: labels and the last layer never leave the client, and
    the last layer is averaged with the front. Only with "sflv1"."""
    round_deadline_s: float = Field(default=1800, gt=0)
    """A client that has not answered by then misses the round."""
    stream_deadline_s: float = Field(default=60, gt=0)
    """A step that has had no answer by then fails its client."""
    missed_rounds_allowed: int = Field(default=0, ge=0)
    """Gate: how often clients, all together, may miss the preparation, a round or the audit."""
    tls: bool = False
    """Whether the split service is under TLS, with certificates that a run on one machine makes for itself. An attacker
    on the wire then sees ciphertext and no activation: of its cells no leakage is measured, and they are INVALID."""


class AttackerOptions(Options):
    """The attacker's process and what it may do while training runs."""

    vantage: Literal["wire", "server"] = "wire"
    """Where it looks on: between clients and server, through a relay, or as the server itself, which is honest but
    curious and keeps the activations that it is sent. Without TLS both see the same."""
    margin_db: float = Field(default=3.0, ge=0)
    """Gate: on the undefended cell the strongest attack beats the class mean by this much PSNR."""
    coverage: float = Field(default=1.0, gt=0, le=1)
    """Gate: the share of the images sent under the final front that the tap has seen."""
    effort: Literal["quick", "standard", "full"] = "standard"
    """How much work the attacks may put in: ``quick`` is a quarter of their caps on epochs, steps and images, ``full``
    has no caps, so that each works to its plateau, which may take longer than `deadline_s`. An option that is given for
    an attack itself counts more."""
    live_aux: int = Field(default=1000, ge=20)
    """Auxiliary images that it trains on between rounds; all of them count after the last round."""
    live_images: int = Field(default=96, ge=8)
    """Observations that it reconstructs for the live view: those of the first private images, each time the same."""
    training_streams: bool = True
    """Whether the closed forms also attack what clients send in training, of the rounds that are kept; the headline
    is then the strongest over both, and says which. Where clients hold the truth the audit alone is attacked."""
    keep_rounds: int = Field(default=1, ge=0)
    """Of how many of the newest rounds TRAIN and TEST observations and fronts stay on disk until the cell is finished;
    0 keeps those of all rounds, for good."""
    threads: int = Field(default=2, ge=1)
    """For learning after the last round; a fixed number, whatever the cores and the cells at a time: another one sums
    in another order, so that results differ in their last digits."""
    deadline_s: float = Field(default=3600, gt=0)
    """How long the lab waits for the attack after the last round."""
