"""Holds two accounts of the same streams against each other: questions and answers, the server's and the tap's."""

from __future__ import annotations

from typing import Any

from splitfed.bench.fuzz.conversations import CLIENT_FRAME
from splitfed.wire.frames import unpack


class Disagreement(Exception):
    """Two that should say the same do not."""


def agree(what: str, one: object, other: object) -> None:
    """Two views of one thing.

    Raises:
        Disagreement: they differ.
    """
    if one != other:
        raise Disagreement(f"{what}: {one} is not {other}")


def answered_batches(questions: list[bytes], answers: list[Any]) -> list[int]:
    """Steps of the batches that were answered, in order: with a gradient, or with features where labels stay.

    Answers come in the order of the questions. What answers a Backward is no answer to a batch.
    """
    steps = []
    for raw, answer in zip(questions, answers, strict=False):
        if answer.WhichOneof("body") in ("gradient", "features"):
            question, _ = unpack(CLIENT_FRAME, raw)
            steps += [question.forward.step] if question.HasField("forward") else []
    return steps


def check_kinds(questions: list[bytes], answers: list[Any]) -> None:
    """Each answer is one to its question, and of its step.

    Raises:
        Disagreement: one is not.
    """
    keeps_labels = False
    for raw, answer in zip(questions, answers, strict=False):
        kind = answer.WhichOneof("body")
        if kind == "refusal":
            return
        question, _ = unpack(CLIENT_FRAME, raw)
        asked = question.WhichOneof("body")
        keeps_labels |= asked == "hello" and question.hello.keeps_labels
        to_batch = "features" if keeps_labels else "gradient"
        expected = {"hello": "accept", "forward": to_batch, "backward": "gradient", "done": "finished"}
        agree(f"what a {asked} is answered with", kind, expected[asked])
        if asked in ("forward", "backward"):
            agree("the step that is answered", getattr(answer, kind).step, getattr(question, asked).step)
