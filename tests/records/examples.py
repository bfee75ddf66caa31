"""One example of each record, whole: what must hold of every record is held against these."""

from __future__ import annotations

from splitfed.attacker.protocol import Attacked, Done, Final, Learned, Listening, Warned
from splitfed.data.cache import CachedImages
from splitfed.data.source import Found
from splitfed.records import events
from splitfed.records.auxiliary import AuxiliaryIdentity
from splitfed.records.features import FeatureRecord, FeatureSettings, NetworkFeatures
from splitfed.records.lock import LockHolder
from splitfed.records.record import Record
from splitfed.records.results import ClientScore
from splitfed.records.wall import Victims, WallAttack, WallFinal, WallShown
from splitfed.roles.lab_protocol import (
    Agreed,
    Failed,
    Happened,
    Judged,
    Over,
    Overheard,
    Scored,
    Tapped,
    Trained,
    Unjudged,
)
from splitfed.roles.order import Order
from splitfed.types import FitEvidence
from splitfed.wire.observations import ObservationHead
from tests.views.fabricated import against_none, cell_result, ideal_score, linked_oracle, manifest, run_results

_FIT = FitEvidence(1.0, 0.5, True, 3, 20.0, 0.5, True)
_SETTINGS = FeatureSettings(
    seed=0,
    epochs=1,
    batch_size=8,
    optimizer="Adam",
    learning_rate=0.001,
    train=8,
    ridge=8,
    neighbors=2,
    l1_weight=0.5,
    kernel_size=5,
    versions={"torch": "2.13.0"},
)
_NETWORK = NetworkFeatures(
    layers="two linear layers",
    features=8,
    accuracy=0.9,
    knn_accuracy=0.8,
    ridge_psnr_db=20.0,
    ridge_reid_top1=0.5,
    points=((0.0, 1.0),),
)
_FEATURES = FeatureRecord(
    schema=2, classes=("Hand",), labels=(0,), class_mean_psnr_db=19.5, networks=(_NETWORK,), settings=_SETTINGS
)
_WIRE = events.ClientWire(client=0, frames=8, received_bytes=2048, sent_bytes=1024)
_SHOWN = WallShown(number=0, round=1, epoch=1, sheet="ridge@0.png", victims=(3, 5), psnr_db=(20.0, None), ssim=(0.5,))
_FINAL = WallFinal(victims=(0, 1), of=2, sheets=("ridge-0.png",), reid_rank=(1, 2), nearest=((0, 1), (0, 1)))
_RESULTS = run_results(
    *(cell_result(defense, seed=seed) for seed in (0, 1) for defense in ("none", "sca")),
)
_CELL = _RESULTS.cells[0]
assert _RESULTS.training is not None

EXAMPLES: dict[type[Record], Record] = {
    type(record): record
    for record in (
        events.RunStarted(
            scenario="small", run_dir="runs/a", threat="split", dataset="digits", synthetic=False, cells=("none", "sca")
        ),
        events.Notice(message="a"),
        ObservationHead(run="a/none", round=1, client=0, phase=3, step=0, shape=(2, 48), labels=(0, 1)),
        CachedImages(
            images=2, arrays=("labels",), classes=("Hand",), note="", caveat="", found=Found(skipped={".csv": 1})
        ),
        linked_oracle(),
        events.CellStarted(cell="none", defense="none", seed=0, rounds=2, clients=3),
        events.PrepareProgress(cell="none", what="first dictionary", done=1, total=2),
        events.ClientProgress(
            cell="none", round=1, client=0, step=1, steps=2, loss=1.5, images_per_s=900.0, sent_bytes=2050
        ),
        events.ClientLost(cell="none", round=1, client=0, reason="link lost"),
        events.RoundFinished(cell="none", round=1, rounds=2, loss=1.5, accuracy=0.5),
        events.AttackProgress(cell="none", attack="ridge", round=1, epoch=1, train_loss=0.5),
        events.WallMoment(cell="none", attack="ridge", round=1, epoch=1, number=0, sheet="ridge@0.png", victims=(3, 5)),
        events.WallFinished(cell="none", attack="ridge", record="wall/none/ridge.json"),
        events.WireCounted(
            cell="none", round=1, clients=(_WIRE,), refused={"BAD_TOKEN": 1}, broken=0, lost=(1,), sealed=False
        ),
        _WIRE,
        Victims(
            schema=1,
            height=8,
            width=8,
            channels=1,
            count=2,
            of=2,
            classes=("Hand",),
            label=(0, 0),
            client={"0": (0, 1)},
            sheets=("originals-0.png",),
            candidates=2,
        ),
        _SHOWN,
        _FINAL,
        WallAttack(schema=1, cell="none", attack="ridge", is_control=False, moments=(_SHOWN,), stride=1, final=_FINAL),
        events.CellFinished(cell=_CELL.cell, result=_CELL),
        events.CellUnfinished(cell="none", reason="killed"),
        events.RunFinished(results=_RESULTS, valid=True),
        Listening(address="127.0.0.1:1"),
        Learned(attack="ridge", round=1, epoch=1, train_loss=0.5),
        Attacked(attack="ridge", is_control=False, fit=_FIT, reconstructions="ridge.npz", seconds=1.0),
        Done(front_before="a", front_after="a", observed=8, unparsed=0),
        Warned(message="a"),
        Final(round=2, rows=8),
        _RESULTS,
        _RESULTS.dataset,
        _RESULTS.training,
        _RESULTS.baselines["class_mean"],
        _RESULTS.summary[1],
        _RESULTS.summary[1].over_seeds["ssim"],
        _CELL,
        _CELL.attacks["ridge"],
        ideal_score("laplace"),
        against_none(-6.1, -0.2)["ssim"],
        manifest(),
        manifest().images,
        _FEATURES,
        _NETWORK,
        _SETTINGS,
        ClientScore(psnr_db=20.0, ssim=0.5, reid_top1=0.5, reid_chance=0.25, n=4),
        Happened(event="{}"),
        Overheard(message="{}"),
        Trained(),
        Failed(reason="a", by_settings=True),
        Over(),
        Agreed(shape=(1, 8, 8), classes=10),
        Scored(
            what="ridge",
            baseline=False,
            client=0,
            image=(0, 1),
            hit=(1,),
            psnr_db=(20.0, 21.5),
            ssim=(0.5, 0.25),
            ssim_cropped=(),
        ),
        Tapped(rows={"0": 8}, activation_bytes_per_image=128.0),
        Judged(
            client=0,
            checked=2,
            differing=0,
            findings=1,
            failed=0,
            shared=0,
            auxiliary=8,
            same_classes=True,
            synthetic=False,
            test_counts=(1, 2),
            figures={"delta": 1e-5},
        ),
        Unjudged(what="ridge", client=None, reason="a"),
        Order(run="a/none", key="0123456789abcdef", scenario="{}", cell="{}", shape=(1, 8, 8), classes=10),
        AuxiliaryIdentity(images=8, identity="00"),
        LockHolder(pid=1, host="here", since="2026-01-01T00:00:00+00:00"),
    )
}
"""By class."""
