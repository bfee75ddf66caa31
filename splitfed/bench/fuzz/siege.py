"""A target under fire: while honest clients train through its relay, attackers send their inputs, in salvos.

After each salvo the target comes to rest, and its books are compared with what all who aimed at it know.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from splitfed.bench.fuzz.books import Disagreement, agree
from splitfed.bench.fuzz.honest import HonestClients, train
from splitfed.bench.fuzz.host import ATTACKERS, HONEST
from splitfed.bench.fuzz.inputs import randomness
from splitfed.bench.fuzz.live_cases import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from splitfed.bench.fuzz.live_cases import Account, GrpcStreams, Sockets
    from splitfed.bench.fuzz.target import Besieged, Report, Seen

STREAM_WORKERS = 12
"""Threads of the server, at most: twice its places, and four to turn streams away."""


class Siege:
    """Salvos of one kind at one target.

    Attributes:
        trainings: of honest clients, meanwhile.
        blinded: inputs that were answered and that the tap missed, as it had given their connection up.
    """

    def __init__(self, target: Besieged, case: GrpcStreams | Sockets, seed: int) -> None:
        self._target = target
        self._case = case
        self._seed = seed
        self._quiet = {client: train(target.relay, client) for client in HONEST}
        self.trainings = 0
        self.blinded = 0

    def salvo(self, numbers: Iterable[int]) -> tuple[Counter[str], Report]:
        """These inputs; what became of their streams, and the target's account.

        Raises:
            Disagreement: an honest client was disturbed, or the books do not balance.
            TimeoutError: the target does not come to rest.
        """
        before = self._target.at_rest()
        with HonestClients(self._target.relay) as honest:
            each = [self._case.one(randomness(self._seed, self._case.name, number), number) for number in numbers]
            self._case.close()
        after = self._target.at_rest()
        agree("trainings that failed", honest.failures, [])
        for client, trained in honest.trainings:
            agree(f"what client-{client} has trained, to the bit", trained.result, self._quiet[client].result)
        self.trainings += len(honest.trainings)
        agree("errors in the target", after.alarms, [])
        _check_threads(after)
        told = NOTHING
        for one in each:
            told = told.and_then(one)
        became = _since(before, after, len(honest.trainings))
        agree(
            "streams that ended, one way each", became.total(), after.streams - before.streams - len(honest.trainings)
        )
        if self._case.hears_all:
            agree("what was counted, and what was told", became, told.became)
        agree("bytes and messages lost to the tap", (after.dropped_bytes, after.missed), (0, 0))
        sent_honestly: Counter[Seen] = sum((trained.sent for _, trained in honest.trainings), Counter())
        agree("what the tap has of honest clients", _of(after.observed, HONEST), sent_honestly)
        if self._case.hears_all:
            _check_what_was_heard(told, _of(after.observed, ATTACKERS), _of(after.applied, ATTACKERS))
        else:
            self._check_what_was_seen(each, told, before, after)
        return became, after

    def _check_what_was_seen(self, each: list[Account], told: Account, before: Report, after: Report) -> None:
        """The tap has nothing that was not sent, and all that was answered.

        But for one class: gRPC goes on after a header that is no Huffman code, and the tap gives its connection up.
        """
        observed = _of(after.observed, ATTACKERS)
        _none("observed and not sent", observed - told.sent)
        blinded = [one.answered - observed for one in each if one.answered - observed]
        self.blinded += len(blinded)
        if len(blinded) > after.no_huffman - before.no_huffman:
            _none("answered and not observed", blinded[0])


def _check_threads(after: Report) -> None:
    workers = after.threads["stream"]
    if workers > STREAM_WORKERS:
        raise Disagreement(f"{workers} threads serve streams, more than {STREAM_WORKERS}")
    named = {name: after.threads[name] for name in ("relay", "observer", "watchdog")}
    agree("threads at rest", named, {"relay": 1, "observer": 1, "watchdog": 0})


def _since(before: Report, after: Report, honest: int) -> Counter[str]:
    """What became of the attackers' streams, as the server counted it."""
    ends = Counter(finished=after.finished - before.finished - honest, broken=after.broken - before.broken)
    return +(after.refused - before.refused + ends)


def _check_what_was_heard(told: Account, observed: Counter[Seen], applied: Counter[Seen]) -> None:
    short: Counter[Seen] = Counter()
    for (client, step, _), count in observed.items():
        short[client, step, ""] += count
    agree("steps that the tap observed, and that were answered", short, told.answered)
    unseen = applied - observed
    if unseen.total() > told.became["NOT_FINITE"]:  # such a result is refused after it was worked out
        _none("given to a session and not observed", unseen)


def _of(seen: Counter[Seen], clients: tuple[int, ...]) -> Counter[Seen]:
    return Counter({what: count for what, count in seen.items() if what[0] in clients})


def _none(what: str, seen: Counter[Seen]) -> None:
    if seen:
        raise Disagreement(f"{what}: {dict(seen)}")
