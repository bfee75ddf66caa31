"""The parts of the live view: small renderables, each drawn from the run's progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from splitfed.views.summary import why_not_completed
from splitfed.views.table import banner
from splitfed.views.text import SYNTHETIC, byte_count, cell_position, duration, number, percent, sparkline, time_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from splitfed.records import events
    from splitfed.views.progress import AttackState, CellState, ClientState, RunState

CLIENTS_SHOWN = 6
NOTICES_SHOWN = 3


def header(run: RunState, now_s: float) -> Iterator[RenderableType]:
    """Banners, what runs, which cell of how many, and the time left."""
    if run.started is None:
        yield Text("starting", style="dim")
        return
    if run.started.synthetic:
        yield banner(SYNTHETIC)
    yield from (banner(notice.message) for notice in run.notices if notice.level == "banner")
    started = run.started
    yield _line(
        ("splitfed ", "bold"), (started.scenario, "bold"), f"  {started.dataset}, {started.threat} threat",
    )  # fmt: skip
    cell = run.current
    yield _line(
        cell_position(run), (f"  {cell.started.cell}" if cell else "", "bold"),
        f"  {duration(max(0.0, now_s - started.time_s))} so far, ", (time_left(run, now_s), "bold"),
    )  # fmt: skip


def cell_bar(cell: CellState, width: int) -> RenderableType:
    """What the cell is doing, with a bar: preparing, training round by round, then the last attacks."""
    if cell.preparing:
        return preparation_bar(cell.preparing, width)
    rounds = cell.started.rounds
    if cell.trained:
        return _bar("training done, attacks to their plateau", rounds, rounds, f"{rounds} rounds", width)
    return _bar("training", cell.rounds_done, rounds, f"round {cell.round} of {rounds}", width)


def preparation_bar(progress: events.PrepareProgress, width: int) -> RenderableType:
    """Work before there is anything to train: images being decoded, a dictionary being learned."""
    return _bar(progress.what, progress.done, max(progress.total, 1), f"{progress.done}/{progress.total}", width)


def rounds_line(cell: CellState) -> RenderableType:
    """Loss and accuracy of the averaged model over the rounds."""
    accuracy = [done.accuracy for done in cell.rounds]
    loss = [done.loss for done in cell.rounds]
    return _line(
        "test accuracy ", (number(accuracy[-1], 3), "bold"), f" {sparkline(accuracy, 16)}",
        "   loss ", (number(loss[-1], 3), "bold"), f" {sparkline(loss, 16)}",
    )  # fmt: skip


def clients_table(cell: CellState, width: int) -> RenderableType:
    """Per client: step, loss and its curve, images per second, bytes sent; many clients end in one line."""
    table = _grid("client", "step", "loss", "over time", "images/s", "sent", left=(0, 3))
    listed = sorted(cell.clients.items())
    curve = 12 if width < 100 else 32
    for name, client in listed[:CLIENTS_SHOWN]:
        _add_row(table, *_client_row(str(name), client, curve))
    rest = [client for _, client in listed[CLIENTS_SHOWN:]]
    if rest:
        rate, sent = sum(c.images_per_s for c in rest), sum(c.sent_bytes for c in rest)
        _add_row(table, f"{len(rest)} more", "", "", "", f"{rate:,.0f}", byte_count(sent), style="dim")
    return table


def clients_line(cell: CellState) -> RenderableType:
    """All clients in one line, for terminals too low for a table."""
    clients = list(cell.clients.values())
    losses = [client.losses[-1] for client in clients if client.losses]
    spread = f"loss {number(min(losses), 3)} to {number(max(losses), 3)}, " if losses else ""
    rate, sent = sum(c.images_per_s for c in clients), sum(c.sent_bytes for c in clients)
    return _line(f"{len(clients)} clients, {spread}{rate:,.0f} images/s, {byte_count(sent)} sent")


def attacks_table(cell: CellState, width: int) -> RenderableType:
    """Per attack: epochs, PSNR and SSIM with their curves, and the share that is re-identified. Higher is closer to
    the private images."""
    table = _grid("attacker", "epoch", "PSNR dB", "over time", "SSIM", "over time", "re-id", left=(0, 3, 5))
    curve = 10 if width < 100 else 28
    for name, attack in cell.attacks.items():
        _add_row(table, *_attack_row(name, attack, curve))
    return table


def chosen_line(cell: CellState) -> RenderableType:
    """Which cell is shown where somebody chose it."""
    return _line("shown: ", (cell.started.cell, "bold"), (" (f follows the run again)", "dim"))


def keys_line() -> RenderableType:
    """What can be pressed."""
    return _line(("keys: c next cell, a next attack, f follow the run", "dim"))


def strip_caption(shown: events.AttackProgress | None) -> RenderableType:
    """Which attack the strip shows, and how close it is."""
    if shown is None:
        return Text("")
    psnr = f" ({shown.psnr_db:.1f} dB)" if shown.psnr_db is not None else ""
    return _line("private images above, what ", (shown.attack, "bold"), f" makes of the wire below{psnr}")


def finished_table(run: RunState) -> RenderableType:
    """The finished cells, small: accuracy, the strongest attack and what it got."""
    table = _grid("finished", "accuracy", "PSNR dB", "SSIM", "re-id", "strongest", "verdict", left=(0, 5, 6))
    for name, cell in run.results.items():
        score = cell.strongest_score
        _add_row(
            table,
            name,
            number(cell.accuracy, 3),
            number(score.psnr_db if score else None, 1),
            number(score.ssim if score else None, 3),
            percent(cell.reid_rate),
            cell.strongest or ("cannot be trained" if why_not_completed(cell) else "saw nothing"),
            "valid" if cell.valid else "INVALID",
            style="" if cell.valid else "bold red",
        )
    return table


def notices(run: RunState) -> Iterator[RenderableType]:
    """The last notices that are no banners."""
    plain = [notice for notice in run.notices if notice.level != "banner"]
    for notice in plain[-NOTICES_SHOWN:]:
        yield _line((f"{notice.level}: ", "bold red" if notice.level == "warning" else "bold"), notice.message)


def _client_row(name: str, client: ClientState, curve: int) -> tuple[str | Text, ...]:
    at = f"{client.step + 1}/{client.steps}" if client.steps else ""
    step = Text("lost", style="bold red") if client.lost else Text(at)
    loss = client.losses[-1] if client.losses else None
    trend = client.lost or sparkline(client.losses, curve)
    return name, step, number(loss, 3), trend, f"{client.images_per_s:,.0f}", byte_count(client.sent_bytes)


def _attack_row(name: str, attack: AttackState, curve: int) -> tuple[str | Text, ...]:
    latest = attack.latest
    return (
        f"{name} (final)" if latest.final else name,
        str(latest.epoch),
        Text(number(latest.psnr_db, 1), style="bold"),
        sparkline([point.value for point in attack.psnr_db], curve),
        Text(number(latest.ssim, 3), style="bold"),
        sparkline([point.value for point in attack.ssim], curve),
        percent(latest.reid_top1),
    )


def _grid(*titles: str, left: tuple[int, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place in left else "right", no_wrap=True)
    return table


def _add_row(table: Table, *cells: str | Text, style: str = "") -> None:
    # as Text, for names and reasons may hold square brackets, which rich would read as markup
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells), style=style)


def _bar(what: str, done: float, total: float, position: str, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    room = max(10, min(40, width - len(what) - len(position) - 6))
    # green and the default color: both can be seen on light and on dark
    bar = ProgressBar(total=total, completed=done, width=room, complete_style="green", finished_style="green")
    grid.add_row(Text(what, no_wrap=True), bar, Text(position, no_wrap=True, style="bold"))
    return grid


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
