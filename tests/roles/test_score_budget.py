"""A client that scores is an oracle of its images: whoever asks, it tells so much and no more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict

from splitfed import data
from splitfed.federation.arrays import to_arrays
from splitfed.roles.score_budget import MOST_SCORED, Audit, ScoreBudget
from splitfed.roles.scoring_protocol import BY_CLASS, IMAGES, INDEX, JUDGE, MADE, SCORE, BadQuestion, arrays_of
from tests.roles.truth_world import JobOf, TruthWorld, shared, trained

ATTACKS = 1
"""So that five pictures of each image are scored: of the attack, two controls, and two baselines."""


@pytest.fixture(scope="module")
def world(job_of: JobOf, digits: data.Splits) -> Iterator[TruthWorld]:
    with trained(job_of, digits, attacks=ATTACKS) as found:
        yield found


def made(world: TruthWorld, shade: float, index: np.ndarray | None = None) -> ArrayRecord:
    """One picture, of this shade, for each row of an index; all images of client 0 by default."""
    rows = world.index[world.index[:, 1] == 0] if index is None else index
    return arrays_of({INDEX: rows, IMAGES: np.full((len(rows), *world.job.shape), shade, np.float32)})


def reason(reply: Message) -> str:
    return str(reply.error.reason) if reply.has_error() else ""


def rows(world: TruthWorld, **changed: int) -> np.ndarray:
    """The first two rows of client 0's audit, with columns changed."""
    index = world.index[:2].copy()
    for name, value in changed.items():
        index[:, ["round", "client", "step", "row"].index(name)] = value
    return index


def test_only_rows_of_the_clients_own_audit_are_scored(world: TruthWorld) -> None:
    """Each question by itself would tell something; none of them is counted, as none is answered."""
    wrong = {
        "want rows of round 2, the audit": [rows(world, round=1), rows(world, client=1), rows(world)[:0]],
        "names no image": [rows(world, step=99), rows(world, row=-1)],
        "an image is asked about twice": [rows(world, row=0)],
    }
    for said, indices in wrong.items():
        for index in indices:
            assert said in reason(world.ask(0, SCORE, **{MADE: made(world, 0.5, index)}))
    unreadable = arrays_of({INDEX: rows(world), IMAGES: np.full((2, *world.job.shape), np.nan, np.float32)})
    assert "NaN" in reason(world.ask(0, SCORE, **{MADE: unreadable}))
    assert "index is missing" in reason(world.ask(0, SCORE))


def test_a_run_has_as_many_pictures_scored_as_its_attacks_make_and_the_same_ones_again(world: TruthWorld) -> None:
    guessed = arrays_of({BY_CLASS: np.zeros((10, *world.job.shape), np.float32)})
    questions = [made(world, shade) for shade in (0.1, 0.2, 0.3, 0.35)] + [guessed]
    first = [world.ask(0, SCORE, **{MADE: question}) for question in questions]
    assert [reason(reply) for reply in first] == [""] * (ATTACKS + 4)
    assert "5 pictures of each image were scored in this run" in reason(world.ask(0, SCORE, **{MADE: made(world, 0.4)}))
    assert "in this run" in reason(world.ask(0, SCORE, **{MADE: made(world, 0.4, world.index[:1])}))  # nor one image
    again = [world.ask(0, SCORE, **{MADE: question}) for question in questions]
    assert [dict(reply.content["numbers"]) for reply in again] == [dict(reply.content["numbers"]) for reply in first]


def test_one_tap_of_a_run_is_judged_and_only_beside_the_front_of_the_audit(world: TruthWorld) -> None:
    def judged(shown: RecordDict, front: ArrayRecord) -> str:
        shown.config_records["known"]["measures"] = "{}"
        content = {"own": shown.array_records["own"], "known": shown.config_records["known"], "arrays": front}
        return reason(world.ask(1, JUDGE, **content))  # type: ignore[arg-type]

    own, fewer = shared(world.auxiliary), shared(world.auxiliary[:300])
    assert "not the front" in judged(own, to_arrays(world.job.front()))
    final = to_arrays(world.result.front)
    assert [judged(own, final), judged(own, final)] == ["", ""]
    assert "no second one is" in judged(fewer, final)


def test_a_run_whose_lab_has_the_truth_gets_no_scores(job_of: JobOf, digits: data.Splits) -> None:
    with trained(job_of, digits) as world:
        world.job = job_of("none", federation={"clients": 2, "rounds": 1})
        assert "holds the truth itself" in reason(world.ask(0, SCORE, **{MADE: made(world, 0.5)}))


# the count itself


def test_nothing_is_answered_before_an_audit_or_of_an_earlier_run() -> None:
    budget, state = ScoreBudget(10), RecordDict({})
    with pytest.raises(BadQuestion, match="took no part"):
        budget.audit(state, "run", 0)
    budget.begin(state, Audit("run", 0, 3, "front"))
    budget.begin(state, Audit("later", 0, 3, "front"))
    assert budget.audit(state, "later", 0) == Audit("later", 0, 3, "front")
    for run, client in (("run", 0), ("later", 1)):
        with pytest.raises(BadQuestion, match="took no part"):
            budget.audit(state, run, client)


def test_a_run_that_is_ordered_again_or_has_many_attacks_widens_nothing() -> None:
    budget, state = ScoreBudget(1000), RecordDict({})
    audit = Audit("run", 0, 3, "front")
    budget.begin(state, audit)
    for question in range(MOST_SCORED):
        budget.score(state, str(question), 500)
    budget.begin(state, audit)
    with pytest.raises(BadQuestion, match=f"{MOST_SCORED} pictures"):
        budget.score(state, "another", 500)


def test_all_runs_together_have_an_end() -> None:
    budget, state = ScoreBudget(3), RecordDict({})
    for number in range(3):
        budget.begin(state, Audit(f"run-{number}", 0, 3, "front"))
        budget.score(state, "a", 1)
        budget.score(state, "a", 1)
    budget.begin(state, Audit("one more", 0, 3, "front"))
    with pytest.raises(BadQuestion, match="3 pictures of each image were scored since this client was started"):
        budget.score(state, "a", 1)
