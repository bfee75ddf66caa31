"""Who is behind an activation of training, and where the same image is audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from splitfed.experiment.truth import Truth
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.order import training_batches

JobOf = Callable[..., Job]
ROUNDS = 2


def streams(job: Job, shares: Sequence[ClientImages], round_number: int, *, generated: int = 0) -> np.ndarray:
    """The opaque index of all that is sent in a round."""
    return np.array(
        [
            (round_number, client, step, row)
            for client, share in enumerate(shares)
            for step, rows in enumerate(training_batches(job, client, len(share.train) + generated, round_number))
            for row in range(len(rows))
        ],
        np.int64,
    )


def test_an_image_of_training_is_audited_under_the_index_that_it_is_given(
    job_of: JobOf, shares: list[ClientImages]
) -> None:
    truth = Truth(job_of(federation={"rounds": ROUNDS, "local_epochs": 2}), shares)
    index = streams(truth.job, shares, 2)
    audited = truth.audited(index)
    assert set(audited[:, 0]) == {ROUNDS + 1}
    assert torch.equal(truth.originals(index).pixels, truth.originals(audited).pixels)
    assert np.array_equal(truth.audited(audited), audited)
    assert len(np.unique(audited, axis=0)) == sum(len(share.train) for share in shares)


def test_each_time_that_an_image_is_sent_counts(job_of: JobOf, shares: list[ClientImages]) -> None:
    truth = Truth(job_of(federation={"rounds": ROUNDS, "local_epochs": 3}), shares)
    assert truth.sent(1) == len(streams(truth.job, shares, 1))


def test_generated_images_are_nobodys(job_of: JobOf, shares: list[ClientImages]) -> None:
    job = job_of("gan", federation={"rounds": ROUNDS})
    generated = job.defense().generated(len(shares[0].train))
    truth = Truth(job, shares)
    index = streams(job, shares, 1, generated=generated)
    own = truth.private(index)
    assert 0 < own.sum() == truth.sent(1) < len(index)
    with pytest.raises(IndexError, match="generated ones are not audited"):
        truth.audited(index)
    assert len(truth.audited(index[own])) == own.sum()


def test_what_is_shown_says_where_some_images_are_in_each_round_and_not_which_of_them_is_which(
    job_of: JobOf, shares: list[ClientImages]
) -> None:
    truth = Truth(job_of(federation={"rounds": ROUNDS, "local_epochs": 2}), shares)
    wanted = [[5, 0, 17], [], [3, 2]]
    places = truth.places(wanted)
    for number in range(1, ROUNDS + 2):
        told = [place for place in places if place[0] == number]
        assert told == sorted(told)
        clients, rows = truth.rows(np.array(told))
        found = [sorted(rows[clients == client].tolist()) for client in range(3)]
        assert found == [sorted(own) for own in wanted]
