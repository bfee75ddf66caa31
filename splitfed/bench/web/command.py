"""The live view in a browser: what a long run and a full wall take, how soon the page is there, and what it costs.

One JSON line per case. What needs a browser is left out, and the line says why, where there is none.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from splitfed.bench.arguments import positive
from splitfed.bench.measure import print_line
from splitfed.bench.web import stand_ins, training
from splitfed.bench.web.browser import Browser, NoBrowserError, browser
from splitfed.bench.web.served import PeakMemory, served

MIB = 2**20
Line = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per case; returns 0."""
    parser = argparse.ArgumentParser(prog="splitfed bench web", description=__doc__)
    parser.add_argument("--events", type=positive, default=100_000, help="of the long run (default 100,000)")
    parser.add_argument("--images", type=positive, default=6000, help="on the full wall (default 6,000)")
    parser.add_argument("--pairs", type=positive, default=5, help="of runs with and without a page (default 5)")
    parser.add_argument("--train", type=positive, default=3000, help="images that these train on (default 3,000)")
    parser.add_argument("--rounds", type=positive, default=40, help="of these (default 40)")
    arguments = parser.parse_args(argv)
    with ExitStack() as held:
        chromium, why = None, ""
        try:
            chromium = held.enter_context(browser())
        except NoBrowserError as error:
            why = str(error)
        for case in (_long, _wide, _cost):
            with tempfile.TemporaryDirectory() as folder:
                for line in case(Path(folder), chromium, arguments):
                    print_line(line | {"skipped": why} if line.pop("lacks_browser", False) else line)
    return 0


def _long(folder: Path, chromium: Browser | None, arguments: argparse.Namespace) -> Iterator[Line]:
    """A long run is opened, by a server that has shown another before."""
    run = stand_ins.long_run(folder, arguments.events)
    short = stand_ins.long_run(folder, 1000)
    with served(folder) as (server, process):
        server.open(short)
        before = process.memory_info().rss
        with PeakMemory(process) as peak:
            opened = server.open(run)
        yield {
            "case": f"{arguments.events:,} events: opened by a reader",
            "live_s": round(opened.live_s, 2),
            "sent_events": opened.events,
            "server_before_mib": round(before / MIB),
            "server_more_mib": round((peak.bytes - before) / MIB, 1),
        }
    with served(folder) as (server, _):
        case: Line = {"case": f"{arguments.events:,} events: opened in a browser"}
        if chromium is None:
            yield case | {"lacks_browser": True}
            return
        with chromium.page(server.address(run)) as page:
            painted_s = page.first_paint_s()
            shown_s = page.shows_events_s(opened.events)
            yield case | {
                "first_paint_s": round(painted_s, 2),
                "shown_s": round(shown_s, 2),
                "longest_task_ms": round(page.longest_task_ms()),
            }


def _wide(folder: Path, chromium: Browser | None, arguments: argparse.Namespace) -> Iterator[Line]:
    """A full wall is scrolled through."""
    case: Line = {"case": f"{arguments.images:,} images on the wall: scrolled through"}
    if chromium is None:
        yield case | {"lacks_browser": True}
        return
    run = stand_ins.wide_run(folder, arguments.images)
    with served(folder) as (server, _), chromium.page(server.address(run)) as page:
        page.stay(3.0)  # until it has what it shows
        loading_ms = page.longest_task_ms()
        passed = page.scroll_wall()
        yield case | {
            "scrolled_px": passed,
            "longest_task_ms": round(page.longest_task_ms()),
            "longest_task_loading_ms": round(loading_ms),
        }


def _cost(folder: Path, chromium: Browser | None, arguments: argparse.Namespace) -> Iterator[Line]:
    """Runs in pairs, with a page and without, the one first and then the other."""
    file = training.scenario(folder, train=arguments.train, rounds=arguments.rounds)
    training.alone(file, folder / "warm-up")
    ratios, paints = [], []
    for pair in range(arguments.pairs):
        done: dict[str, training.WatchedRun] = {}
        kinds: list[tuple[str, Callable[[Path], training.WatchedRun]]] = [
            ("alone", lambda out: training.alone(file, out)),
            ("watched", lambda out: training.watched(file, out, chromium)),
        ]
        for name, play in kinds if pair % 2 else reversed(kinds):
            done[name] = play(folder / f"{name}-{pair}")
        ratios.append(done["watched"].train_s / done["alone"].train_s)
        if (painted_s := done["watched"].first_paint_s) is not None:
            paints.append(painted_s)
    paint: Line = {"case": "first contentful paint while a run trains"}
    if paints:
        yield paint | {"median_s": round(statistics.median(paints), 2), "most_s": round(max(paints), 2)}
    else:
        yield paint | {"lacks_browser": True}
    yield {
        "case": "training with a page open, against training alone",
        "page": "a reader of its events" if chromium is None else "in a browser on the same machine",
        "pairs": arguments.pairs,
        "median_ratio": round(statistics.median(ratios), 3),
        "least_ratio": round(min(ratios), 3),
        "most_ratio": round(max(ratios), 3),
    }
