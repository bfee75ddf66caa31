"""Holds what was found against what has to come of a script."""

from __future__ import annotations

from splitfed.bench.faults import world
from splitfed.bench.faults.play import Aftermath, matches
from splitfed.bench.faults.script import LeftOut, Script, expected
from splitfed.bench.faults.witness import phase_of


def mismatches(script: Script, found: Aftermath) -> list[str]:
    """Every way in which they differ; empty where all is as it has to be."""
    return [*_of_attempts(script, found), *_of_the_lost(script, found), *_of_the_result(script, found)]


def _of_attempts(script: Script, found: Aftermath) -> list[str]:
    wanted = expected(script)
    wrong = [f"never struck: {name}" for name in found.not_struck]
    ends = len(wanted.errors) == len(found.errors) and all(map(matches, wanted.errors, found.errors))
    if not ends:
        wrong.append(f"ended with {found.errors}; expected {list(wanted.errors)}")
    if tuple(found.begins) != wanted.begins:
        wrong.append(f"attempts began at rounds {found.begins}; expected {list(wanted.begins)}")
    return wrong


def _of_the_lost(script: Script, found: Aftermath) -> list[str]:
    wanted = expected(script)
    wrong = []
    told = {}
    everyone = {fault.round for fault in script.faults if fault.name in ("client all raise", "network all are parted")}
    for number, client, reason in found.lost:
        place = (number, client)
        if number in everyone:
            continue
        if place in told:
            wrong.append(f"client {client} was lost twice in round {number}: {reason}")
        told[place] = reason
        phase, pattern = wanted.lost.get(place, (wanted.may_be_lost.get(place), ""))
        if phase is not phase_of(reason) or not matches(pattern, reason):
            wrong.append(f"client {client} was lost in round {number}: {reason}")
    missing = wanted.lost.keys() - told.keys()
    return wrong + [f"client {client} was not lost in round {number}" for number, client in sorted(missing)]


def _of_the_result(script: Script, found: Aftermath) -> list[str]:
    wanted = expected(script)
    if found.digest is None:
        return [] if wanted.fails else ["there is no result"]
    if wanted.fails:
        return ["there is a result"]
    told = {(number, client) for number, client, _ in found.lost}
    may = {LeftOut(place[1], place[0], phase) for place, phase in wanted.may_be_lost.items() if place in told}
    reference = world.reference(script.clients, script.rounds, script.defense, wanted.left_out | may)
    return [
        f"{name} is {found.digest[name]}; without a wire {value}"
        for name, value in reference.items()
        if found.digest[name] != value
    ]
