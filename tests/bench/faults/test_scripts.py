"""Scripts are a function of the seed, and what has to come of each follows from it alone."""

from __future__ import annotations

from collections import Counter

import pytest

from splitfed.bench.faults.kinds import KINDS, Outcome, Party
from splitfed.bench.faults.script import STEPS, Fault, LeftOut, Script, expected, told_round
from splitfed.bench.faults.stages import STAGES, stage_of
from splitfed.types import Phase
from tests.bench.faults.scripts import SEED, all_scripts, fault, script


def test_those_that_are_run_here_inject_200_faults_of_every_kind() -> None:
    injected = Counter(fault.name for script in all_scripts() for fault in script.faults)
    assert injected.total() >= 200
    assert injected.keys() == KINDS.keys()


def test_the_same_seed_and_number_give_the_same_script_and_others_another() -> None:
    stage = STAGES[-1]
    assert stage.script(SEED, 3) == stage.script(SEED, 3)
    assert len({stage.script(seed, 3).faults for seed in range(20)}) > 10


def test_every_kind_is_played_on_some_stage() -> None:
    assert sorted(name for stage in STAGES for name in stage.kinds) == sorted(KINDS)
    stages = ["federation", "federation", "lab", "federation", "lab", "deployment"]
    assert [stage_of(number)[0].name for number in (0, 14, 15, 16, 31, 52)] == stages
    assert stage_of(31)[1] == 1


def test_faults_of_one_script_do_not_touch_each_other() -> None:
    for number in range(2000):
        drawn = STAGES[-1].script(SEED, number)
        assert 1 <= len(drawn.faults) <= 3
        places = [(fault.round, fault.client, fault.phase, fault.step) for fault in drawn.faults]
        assert len(set(places)) == len(places)
        streams = Counter((fault.round, fault.client) for fault in drawn.faults)
        for one in drawn.faults:
            assert -1 <= one.step <= STEPS[one.phase]
            assert (one.phase is Phase.AUDIT) == (one.round == drawn.rounds + 1)
            if streams[one.round, one.client] > 1:  # only where nothing comes of any of them
                assert (one.kind.target, one.kind.outcome, drawn.direct) == (Party.NETWORK, Outcome.UNSEEN, False)
            assert not one.kind.alone or sum(other.round == one.round for other in drawn.faults) == 1
            lost = [other for other in drawn.faults if other.kind.outcome is Outcome.LOST]
            assert sum(told_round(other) == told_round(one) for other in lost) < drawn.clients


def test_a_client_that_is_lost_is_left_out_of_that_phase_alone() -> None:
    wanted = expected(script(fault("client raises before", 1, 2, Phase.TEST, 0)))
    assert wanted.left_out == {LeftOut(1, 2, Phase.TEST)}
    assert wanted.lost == {(2, 1): (Phase.TEST, "CrashError")}
    assert (wanted.errors, wanted.begins, wanted.fails) == ((), (1,), False)


@pytest.mark.parametrize(("step", "heard"), [(0, False), (2, False), (3, True)])
def test_an_audit_that_was_heard_to_its_end_counts_as_heard(step: int, heard: bool) -> None:
    wanted = expected(script(fault("client raises after", 0, 3, Phase.AUDIT, step)))
    assert wanted.left_out == {LeftOut(0, 3, Phase.AUDIT, heard)}


def test_a_damaged_checkpoint_forgets_what_was_lost_before_it() -> None:
    wanted = expected(
        script(
            fault("client raises before", 0, 1, Phase.TRAIN, 1),
            fault("server finds half a checkpoint", 0, 2, Phase.TRAIN, -1),
            fault("client raises before", 1, 3, Phase.AUDIT, 1),
        )
    )
    assert wanted.begins == (1, 0, 1)
    assert wanted.errors == ("DeathError", KINDS["server finds half a checkpoint"].reason)
    assert wanted.left_out == {LeftOut(1, 3, Phase.AUDIT)}
    assert wanted.lost.keys() == {(1, 0), (3, 1)}


def test_a_cell_that_fails_has_no_result() -> None:
    wanted = expected(script(fault("client all raise", 0, 1, Phase.TRAIN, -1)))
    assert (wanted.fails, wanted.begins, len(wanted.errors)) == (True, (1,), 1)


def test_a_fault_is_told_with_its_place() -> None:
    told = Fault("client is slow", 1, 2, Phase.TRAIN, 0, number=0).told()
    assert told == {"fault": "client is slow", "client": 1, "round": 2, "phase": "TRAIN", "step": 0}
    assert isinstance(script(), Script)
