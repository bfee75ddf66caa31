"""How much a client tells of its images by scores: a bound, whoever asks.

Who may have any picture scored against a private image can find that image: each score is a distance to it. So a client
scores only what was made of its own audit in the run that it took part in last, so many pictures of an image and run,
and so many in all. Asked once more the same question it gives the same answer, which tells nothing new.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from flwr.app import ConfigRecord, RecordDict

from splitfed.roles.scoring_protocol import BadQuestion

MOST_SCORED = 16
"""Pictures of one image that are scored in one run, at most."""
STATE = "scores"
"""The record in a node's state that keeps count; Flower keeps it where each Message has a process of its own."""


class Audit(NamedTuple):
    """The audit that a client took part in last.

    Attributes:
        run: names the cell on the wire.
        client: the number that it had.
        round: under which it sent its activations.
        front: a fingerprint of the front that made them.
    """

    run: str
    client: int
    round: int
    front: str


class ScoreBudget:
    """Counts what a client is asked.

    Args:
        most: pictures of one image that are scored, all runs together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()

    def begin(self, state: RecordDict, audit: Audit) -> None:
        """The client has sent its activations for this audit, which is what it is asked about from now on."""
        with self._lock:
            kept = _kept(state)
            fresh = {"scored": "", "judged": ""} if kept.get("run") != audit.run else {}
            state[STATE] = ConfigRecord({"in-all": 0, "scored": "", "judged": "", **kept, **fresh, **audit._asdict()})

    def audit(self, state: RecordDict, run: str, client: int) -> Audit:
        """The audit that a question is about.

        Raises:
            BadQuestion: the client took no part in the audit of this run, or in a later one.
        """
        kept = _kept(state)
        if kept.get("run") != run or kept.get("client") != client:
            raise BadQuestion(f"client-{client} took no part in an audit of {run} that it could tell of")
        return Audit(run, client, int(str(kept["round"])), str(kept["front"]))

    def score(self, state: RecordDict, question: str, attacks: int) -> None:
        """Admit a question, by its digest, for scores.

        Args:
            state: the node's.
            question: its digest.
            attacks: how many the scenario has; two controls and two baselines come to these.

        Raises:
            BadQuestion: enough was told.
        """
        with self._lock:
            kept = _kept(state)
            asked = str(kept["scored"]).split()
            if question in asked:
                return
            in_all = int(str(kept["in-all"]))
            allowed = min(attacks + 4, MOST_SCORED)
            if len(asked) >= allowed:
                raise BadQuestion(f"{allowed} pictures of each image were scored in this run: no more are")
            if in_all >= self._most:
                raise BadQuestion(f"{in_all} pictures of each image were scored since this client was started (scores)")
            state[STATE] = ConfigRecord({**kept, "scored": " ".join([*asked, question]), "in-all": in_all + 1})

    def judge(self, state: RecordDict, question: str) -> None:
        """Admit a question, by its digest, for a judgment: one for each run.

        Raises:
            BadQuestion: another one was answered.
        """
        with self._lock:
            kept = _kept(state)
            if kept["judged"] not in ("", question):
                raise BadQuestion("another tap of this run was judged: no second one is")
            state[STATE] = ConfigRecord({**kept, "judged": question})


def _kept(state: RecordDict) -> ConfigRecord:
    return state.config_records.get(STATE, ConfigRecord())
