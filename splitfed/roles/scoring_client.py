"""A client that alone holds the truth of its images: it scores what was made of them, and tells numbers."""

from __future__ import annotations

import json
from typing import Protocol

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from splitfed.federation.arrays import load_arrays
from splitfed.federation.client import Client, ClientImages
from splitfed.federation.client_app import connect_over_grpc, number_of
from splitfed.federation.job import Job
from splitfed.federation.order import evaluation_batches
from splitfed.federation.repeated import CHECKED_BATCHES, ends, not_reproduced, tap_evidence
from splitfed.federation.task import Task
from splitfed.files import one_reader
from splitfed.metrics.by_image import told_scores
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.reid import reid_hits
from splitfed.roles.score_budget import Audit, ScoreBudget
from splitfed.roles.scoring_protocol import (
    BY_CLASS,
    FIGURES,
    HIT,
    IMAGE,
    IMAGES,
    INDEX,
    JUDGE,
    KNOWN,
    MADE,
    MEASURES,
    NUMBERS,
    OWN,
    SCORE,
    TAPPED,
    BadQuestion,
    Numbers,
    SharedAuxiliary,
    answer_of,
    digest,
    numbers,
)
from splitfed.types import Images, Observation, Phase


class HoldsImages(Protocol):
    """Finds a client's images, and says whether they are drawn."""

    synthetic: bool

    def __call__(self, job: Job, number: int) -> ClientImages:
        """The images of the client with this number."""


class ScoringClient(ClientApp):
    """Another ClientApp, whose client also scores what was made of its images, as far as its budget reaches.

    Args:
        app: the client without that.
        held: its images.
        most: pictures of one image that it scores, all runs together.
    """

    def __init__(self, app: ClientApp, held: HoldsImages, *, most: int) -> None:
        super().__init__()
        self._app = app
        self._held = held
        self._budget = ScoreBudget(most)

    def __call__(self, message: Message, context: Context) -> Message:
        """The client's answer.

        Raises:
            BadQuestion: a question that it does not answer.
            SplitfedError: by the other app.
        """
        match message.metadata.message_type:
            case kind if kind == SCORE:
                return Message(self._score(message.content, context), reply_to=message)
            case kind if kind == JUDGE:
                return Message(self._judge(message.content, context), reply_to=message)
        config = message.content.config_records.get("config", ConfigRecord())
        audited = message.metadata.message_type == "evaluate" and config.get("phase") == int(Phase.AUDIT)
        if audited:
            front = _front_in(message.content)
        reply = self._app(message, context)
        if audited:
            number = number_of(context, config)
            round_number = int(str(config["server-round"]))
            self._budget.begin(context.state, Audit(str(config["run"]), number, round_number, front))
        return reply

    def _score(self, content: RecordDict, context: Context) -> RecordDict:
        job, audit = self._asked(content, context)
        truth = self._held(job, audit.client).train
        made = content.array_records.get(MADE, ArrayRecord())
        rows, images = _by_class(made, truth) if BY_CLASS in made else _by_attack(made, truth, job, audit)
        self._budget.score(context.state, digest(made), len(job.scenario.attack))
        originals = truth.pixels[rows]
        scores: dict[str, Numbers] = {name: values.tolist() for name, values in told_scores(images, originals).items()}
        hits = [] if BY_CLASS in made else reid_hits(images, originals).long().tolist()
        return RecordDict({NUMBERS: answer_of({IMAGE: rows.tolist(), HIT: hits, **scores})})

    def _judge(self, content: RecordDict, context: Context) -> RecordDict:
        job, audit = self._asked(content, context)
        if _front_in(content) != audit.front:
            raise BadQuestion("this is not the front that the audit went through")
        images = self._held(job, audit.client)
        tapped = content.array_records.get(TAPPED, ArrayRecord())
        own = SharedAuxiliary.of_record(content, job.shape, job.classes)
        self._budget.judge(context.state, f"{digest(tapped)} {digest(content.array_records[OWN])}")
        victim = Task(Client(job, audit.client, images, connect_over_grpc(job)))
        load_arrays(victim.front, content.array_records["arrays"])
        victim.front.eval()
        counted, figures = _tap_judged(victim, _observations(tapped, audit), content)
        known, held = set(map(bytes, own.hashes)), set(images.train.content_hashes())
        test_counts = torch.bincount(images.test.labels, minlength=job.classes).tolist()
        judged: dict[str, Numbers] = {
            **counted,
            "shared": len(known & held),
            "auxiliary": len(own.hashes),
            "same_classes": int(own.classes == images.train.classes),
            "synthetic": int(self._held.synthetic),
            "test_counts": test_counts,
        }
        return RecordDict({NUMBERS: answer_of(judged), FIGURES: answer_of(figures)})

    def _asked(self, content: RecordDict, context: Context) -> tuple[Job, Audit]:
        """The cell that a question is about, and the audit of it that this client took part in."""
        config = content.config_records["config"]
        job = Job.from_config(config)
        if job.scenario.truth != "clients":
            raise BadQuestion("the lab of this run holds the truth itself")
        return job, self._budget.audit(context.state, job.run, number_of(context, config))


def _by_attack(made: ArrayRecord, truth: Images, job: Job, audit: Audit) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the client's images an attack made something of, each once, and what."""
    index = numbers(made, INDEX, (-1, 4), np.int64)
    images = torch.from_numpy(numbers(made, IMAGES, (len(index), *job.shape), np.float32))
    if not len(index) or not (index[:, :2] == (audit.round, audit.client)).all():
        raise BadQuestion(f"want rows of round {audit.round}, the audit, and of client {audit.client} alone")
    batches = evaluation_batches(job, len(truth))
    rows = []
    for step, row in index[:, 2:].tolist():
        if not (0 <= step < len(batches) and 0 <= row < len(batches[step])):
            raise BadQuestion(f"step {step}, row {row} names no image")
        rows.append(int(batches[step][row]))
    if len(set(rows)) != len(rows):
        raise BadQuestion("an image is asked about twice")
    return torch.tensor(rows), images


def _by_class(made: ArrayRecord, truth: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """All of the client's images, and for each what is guessed for its class."""
    guesses = torch.from_numpy(numbers(made, BY_CLASS, (len(truth.classes), *truth.shape), np.float32))
    return torch.arange(len(truth)), guesses[truth.labels]


def _tap_judged(
    victim: Task, tapped: list[Observation], content: RecordDict
) -> tuple[dict[str, int], dict[str, Numbers]]:
    """How many tapped batches this client's images and front do not give, and what the defense finds of itself."""
    differing = not_reproduced(victim, ends(tapped))
    counted = {"checked": len(ends(tapped)), "differing": len(differing), "findings": 0, "failed": 0}
    if not tapped:
        return counted, {}
    told = json.loads(str(content.config_records[KNOWN][MEASURES]))
    measures = {int(client): dict(figures) for client, figures in told["measures"].items()}
    defense = victim.job.defense()
    evidence = tap_evidence(victim, tapped[:CHECKED_BATCHES], measures, victim.job.plan(told["images"]))
    findings = defense.findings(evidence)
    counted |= {"findings": len(findings), "failed": sum(not finding.acts for finding in findings)}
    return counted, {name: float(value) for name, value in defense.figures(evidence).items()}


def _observations(tapped: ArrayRecord, audit: Audit) -> list[Observation]:
    """This client's tapped batches, in the order of their steps."""
    steps = sorted(int(name) for name in tapped if name.isdecimal())
    return [
        Observation(
            run=audit.run,
            round=audit.round,
            client=audit.client,
            phase=Phase.AUDIT,
            step=step,
            activation=torch.from_numpy(numbers(tapped, str(step), (-1, -1), np.float32)),
            labels=None,
        )
        for step in steps
    ]


def _front_in(content: RecordDict) -> str:
    """A fingerprint of the front in a Message, whatever the order of its arrays."""
    arrays = content.array_records.get("arrays", ArrayRecord())
    with one_reader:
        return fingerprint({name: torch.from_numpy(np.array(arrays[name].numpy())) for name in sorted(arrays)})
