"""A run whose lab holds no images: what is known of them the clients have said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from splitfed.experiment.context import RunContext
from splitfed.experiment.results_keeper import ResultsKeeper
from splitfed.experiment.told_by_clients import ToldByClients
from splitfed.experiment.told_scores import BASELINES, baseline_told
from splitfed.federation.outcome import FederationResult
from splitfed.metrics.by_image import DECIMALS
from splitfed.records.paired import PairedDifference
from splitfed.records.results import BaselineScore, CellResult, DatasetInfo

CAVEAT = (
    "truth was with the clients: each scored what was made of its own images, to "
    f"{10.0 ** -DECIMALS['psnr_db']:g} dB and {10.0 ** -DECIMALS['ssim']:g} of SSIM, and the lab saw none of them"
)


def unscored() -> BaselineScore:
    """A baseline that no client has scored yet."""
    return BaselineScore(psnr_db=None, ssim=None, ssim_cropped=None)


@dataclass
class ClientsFacts:
    """What the clients of a run have said of their images, all together, in the cell that finished last.

    Attributes:
        dataset: counts and shape, as the results have them; zeros where nothing was said yet.
        baselines: what predictors score.
        majority_rate: the accuracy of always naming the most frequent class of their held-out images.
    """

    dataset: DatasetInfo
    baselines: Mapping[str, BaselineScore] = field(default_factory=lambda: {name: unscored() for name in BASELINES})
    majority_rate: float = float("nan")

    def learn(self, told: ToldByClients, result: FederationResult) -> None:
        """What was said in a cell; what was not stays as it was."""
        judges = list(told.judged.values())
        if told.agreed is not None and judges:
            counts = [sum(held) for held in zip(*(each.test_counts for each in judges), strict=True)]
            self.majority_rate = max(counts) / max(sum(counts), 1)
            self.dataset = self.dataset.model_copy(
                update={
                    "shape": told.agreed.shape,
                    "classes": told.agreed.classes,
                    "synthetic": any(each.synthetic for each in judges),
                    "train": sum(result.audited.values()),
                    "aux": max(each.auxiliary for each in judges),
                    "test": sum(counts),
                    "caveat": f"{CAVEAT}; {_sought(told)}",
                }
            )
        scored = {name: baseline_told(told.baseline(name)) for name in BASELINES if told.baseline(name)}
        self.baselines = {**self.baselines, **scored}


def _sought(told: ToldByClients) -> str:
    """Among how many images re-identification sought."""
    sizes = sorted(told.sought)
    if not sizes:
        return "nothing was re-identified"
    among = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
    return f"re-identification is among each client's own images, N = {among}"


@dataclass(frozen=True)
class BlindRun(RunContext):
    """A run whose lab holds no images; `dataset` and `splits` are empty.

    Attributes:
        facts: what is known of the clients' images.
    """

    facts: ClientsFacts = field(kw_only=True)

    @classmethod
    def of(cls, run: RunContext) -> BlindRun:
        """This run, or what it has found so far where it goes on."""
        facts = ClientsFacts(_nothing_known(run))
        if run.store.has_results:
            results = run.store.results
            rates = [cell.majority_rate for cell in results.cells if cell.majority_rate is not None]
            facts = ClientsFacts(results.dataset, results.baselines, *rates[-1:])
        return cls(run.scenario, run.store, run.bus, run.dataset, run.splits, facts=facts)


class BlindKeeper(ResultsKeeper):
    """Keeps the results of a `BlindRun`: what it says of images the clients have said, and there are no pictures."""

    def __init__(self, run: BlindRun) -> None:
        super().__init__(run)
        self._facts = run.facts

    def _draw(self, cells: Sequence[CellResult]) -> None:
        """Nobody has originals beside reconstructions."""

    def _hang_originals(self) -> None:
        """This lab holds none."""

    def _difference(self, cell: CellResult, reference: CellResult) -> dict[str, PairedDifference]:  # noqa: ARG002
        """Clients tell of no single image."""
        return {}

    def _describe(self) -> str:
        return f"{self._run.dataset.name}: {self._run.dataset.note}. Each client scores what is made of its own"

    def _baselines(self) -> Mapping[int, Mapping[str, BaselineScore]]:
        return {cell.seed: self._facts.baselines for cell in self._run.scenario.cells()}

    def _dataset_info(self) -> DatasetInfo:
        return self._facts.dataset


def _nothing_known(run: RunContext) -> DatasetInfo:
    return DatasetInfo(
        name=run.dataset.name,
        synthetic=False,
        shape=(0, 0, 0),
        classes=0,
        train=0,
        aux=0,
        test=0,
        note=run.dataset.note,
        caveat=CAVEAT,
        identity="",
        images={},
        skipped={},
        remarks=(),
    )


def tell_of_drawn(run: BlindRun) -> None:
    """A banner where clients hold drawn images in place of others."""
    if run.facts.dataset.synthetic:
        run.notice("SYNTHETIC IMAGES: clients hold drawn images", level="banner")
