"""The server's side of split learning: one back per client, averaged after each round (SplitFed v1), or one back for
all of them (SplitFed v2, `shared_back`); Thapa et al. 2022, arXiv 2004.12088."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.defenses import Defense
from splitfed.errors import Refused
from splitfed.federation.back_trainer import BackTrainer
from splitfed.federation.shared_back import SharedSession, Turns
from splitfed.federation.tally import Tally, check_open, finish, required
from splitfed.federation.trunk import TrunkEvaluateSession, TrunkSession
from splitfed.types import Phase
from splitfed.wire.session import FeatureSession, Hello, Session, StepResult


@dataclass(frozen=True)
class PhaseScore:
    """Mean loss and accuracy over the complete streams of one round and phase, of which there is at least one."""

    loss: float
    accuracy: float
    examples: int


class TrainSession:
    """One client's stream in a training round, with its own copy of the back."""

    def __init__(self, trainer: BackTrainer) -> None:
        self.next_step = 0
        self.back = trainer.back
        self.tally = Tally()
        self._trainer = trainer

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """Loss and its gradient with respect to the activation; the weights' gradients can wait for `update`."""
        check_open(self.tally)
        result = self._trainer.forward(activation, required(labels))
        self.tally.add(result.loss, result.correct, len(activation))
        self.next_step = step + 1
        return result

    def update(self) -> None:
        """The weights' gradients of the last `forward`, and the optimizer's step, while the client goes on."""
        self._trainer.backward(self.next_step - 1)
        self._trainer.apply()

    def finish(self, steps: int, examples: int) -> None:
        """The client has sent all that it has."""
        finish(self.tally, self.next_step, steps, examples)


class EvaluateSession:
    """One client's stream through the averaged back; nothing is changed."""

    def __init__(self, back: nn.Module) -> None:
        self.next_step = 0
        self.tally = Tally()
        self._back = back

    @torch.no_grad()
    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """Loss and correct predictions of one batch; no gradient."""
        check_open(self.tally)
        labels = required(labels)
        scores = self._back(activation)
        loss = F.cross_entropy(scores, labels).item()
        correct = int((scores.argmax(dim=1) == labels).sum())
        self.tally.add(loss, correct, len(labels))
        self.next_step = step + 1
        return StepResult(loss, correct, None)

    def update(self) -> None:
        """An evaluation moves no weights."""

    def finish(self, steps: int, examples: int) -> None:
        """The client has sent all that it has."""
        finish(self.tally, self.next_step, steps, examples)


AnySession = TrainSession | SharedSession | EvaluateSession | TrunkSession | TrunkEvaluateSession


@dataclass
class BackHost:
    """Holds the back, and opens a session per client, round and phase (a `wire.session.SessionHost`).

    Attributes:
        back: the averaged back, or the shared one; all of it but the head where that is the clients'.
        optimizer: makes a new optimizer for a client's copy, or for a round of the shared back.
        defense: says how a back is trained.
        noise: (round, client, step) to the generator for a step's randomized gradients.
        run: the only run that is served.
        clients: how many clients there are.
        activation_shape: of one image, without the batch.
        classes: how many classes labels may name.
        shared: whether all clients train one back (SplitFed v2) instead of a copy each.
        keeps_labels: whether labels and the head stay with the clients, who then say what became of their images.
    """

    back: nn.Module
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    defense: Defense
    noise: Callable[[int, int, int], torch.Generator]
    run: str
    clients: int
    activation_shape: tuple[int, ...]
    classes: int
    shared: bool = False
    keeps_labels: bool = False
    round: int = 0
    phase: Phase = Phase.TRAIN
    _sessions: dict[int, AnySession] = field(default_factory=dict)
    _taking_part: Collection[int] | None = None
    _turns: Turns = field(default_factory=Turns)
    _shared_optimizer: torch.optim.Optimizer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, number: int, phase: Phase, clients: Collection[int] | None = None) -> None:
        """Serve this round and phase from now on, to these clients (None: to all).

        Streams of any other are refused, also those that are open.
        """
        with self._lock:
            self.round, self.phase, self._taking_part = number, phase, clients
            for session in self._sessions.values():
                session.tally.over = True
            self._sessions.clear()
            self._turns.close()
            self._turns = Turns()
            self._shared_optimizer = self.optimizer(self.back) if self.shared else None

    def open(self, hello: Hello) -> Session | FeatureSession:
        """A new session for this client.

        Raises:
            Refused: the run, round, client or shape is not one that is served now, or the labels are not where they
                should be.
        """
        if hello.run != self.run:
            raise Refused("UNKNOWN_RUN", f"you name run {hello.run!r}; I serve {self.run!r}")
        if not 0 <= hello.client < self.clients:
            raise Refused("UNKNOWN_CLIENT", f"you are client {hello.client}; I know 0 to {self.clients - 1}")
        if tuple(hello.shape) != self.activation_shape:
            raise Refused(
                "WRONG_SHAPE",
                f"client-{hello.client} Hello: want activations {self.activation_shape}, got {tuple(hello.shape)}",
            )
        if hello.keeps_labels != self.keeps_labels:
            said, want = ("stay with you", "travel") if hello.keeps_labels else ("travel", "stay with the clients")
            raise Refused("BAD_LABELS", f"{hello} Hello: you say that labels {said}; in this run they {want}")
        with self._lock:
            if hello.round != self.round:
                raise Refused("STALE_ROUND", f"you train round {hello.round}; I am at {self.round}")
            if hello.phase is not self.phase:
                raise Refused(
                    "STALE_ROUND", f"you are in {hello.phase.name} of round {self.round}; I am in {self.phase.name}"
                )
            if self._taking_part is not None and hello.client not in self._taking_part:
                raise Refused("UNKNOWN_CLIENT", f"{hello}: you were not drawn for this round")
            session = self._session(hello)
            self._sessions[hello.client] = session
            return session

    def _session(self, hello: Hello) -> AnySession:
        if hello.phase is not Phase.TRAIN:
            return TrunkEvaluateSession(self.back) if self.keeps_labels else EvaluateSession(self.back)
        if self._shared_optimizer is not None:
            self._check_first(hello)
            return SharedSession(self._trainer(hello, self.back, self._shared_optimizer), self._turns)
        own = copy.deepcopy(self.back)
        trainer = self._trainer(hello, own, self.optimizer(own))
        return TrunkSession(trainer) if self.keeps_labels else TrainSession(trainer)

    def _trainer(self, hello: Hello, back: nn.Module, optimizer: torch.optim.Optimizer) -> BackTrainer:
        noise = functools.partial(self.noise, hello.round, hello.client)
        return BackTrainer(back, optimizer, self.defense.begin_round(hello.round), noise)

    def _check_first(self, hello: Hello) -> None:
        """Refuse to take a client's images twice in one round: what they did to the shared back cannot be undone."""
        earlier = self._sessions.get(hello.client)
        if earlier is not None and earlier.next_step:
            raise Refused(
                "OUT_OF_ORDER",
                f"{hello}: the back that all clients share has {earlier.next_step} of your steps already, and you "
                "begin anew; take part again in the next round",
            )

    def received(self, client: int) -> int:
        """How many images this client's stream of the present phase held; 0 for one that is not complete."""
        with self._lock:
            session = self._sessions.get(client)
            return session.tally.examples if session is not None and session.tally.finished else 0

    def told(self, client: int, loss: float, correct: int) -> None:
        """What this client says of its stream, which is complete, where labels stay with it: mean loss and correct."""
        with self._lock:
            tally = self._sessions[client].tally
            tally.loss_sum, tally.correct = loss * tally.examples, correct

    def score(self, clients: Iterable[int]) -> PhaseScore:
        """Over these clients' streams of the present phase, which are complete."""
        with self._lock:
            tallies = [self._sessions[client].tally for client in sorted(clients)]
        examples = sum(t.examples for t in tallies)
        return PhaseScore(
            loss=sum(t.loss_sum for t in tallies) / examples,
            accuracy=sum(t.correct for t in tallies) / examples,
            examples=examples,
        )

    @torch.no_grad()
    def average(self, examples: Mapping[int, int]) -> None:
        """Make the back the mean of these clients' backs, weighted by their numbers of examples.

        Partial updates of any other client are dropped. A shared back stays as all steps have left it, those of other
        clients too, and takes no further one.
        """
        if self.shared:
            self._turns.close()
            return
        total = sum(examples.values())
        with self._lock:
            states = [
                (count / total, self._train_session(client).back.state_dict())
                for client, count in sorted(examples.items())
            ]
        mean = {
            name: sum((weight * state[name] for weight, state in states), torch.zeros_like(value))
            for name, value in self.back.state_dict().items()
        }
        self.back.load_state_dict(mean)

    def _train_session(self, client: int) -> TrainSession | TrunkSession:
        session = self._sessions[client]
        assert isinstance(session, TrainSession | TrunkSession)
        return session
