"""The server's addresses: the page, its parts, and what it asks for."""

from __future__ import annotations

import asyncio
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from splitfed.errors import UserError
from splitfed.records.store import EVENTS, RESULTS, RunStore
from splitfed.views.charts.assets import FOLDER as CHARTS
from splitfed.views.charts.figures import of_results
from splitfed.views.web import wall_answers
from splitfed.views.web.feed import Feeds
from splitfed.views.web.pictures import read_picture
from splitfed.views.web.security import Guard, error
from splitfed.views.web.stream import EventStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from splitfed.views.web.catalog import Catalog

HERE = Path(__file__).parent
STATIC = {"": HERE / "static", "charts/": CHARTS}
"""What is served below /static/: a prefix, and the folder whose files have it."""
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
MOST_STREAMS = 64
"""Pages that are told of events at a time, of all runs."""
FASTEST = 100_000.0


class WebView:
    """The application over some runs; `app` is what a server serves.

    Args:
        catalog: the runs.
        host: what the server is bound to.
        token: what who asks must have; None on a loopback address.
        drop: cuts the connection of who asks from this address and port.
        speed: how fast pages replay a finished run at first; None where they show its end.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        host: str,
        token: str | None,
        drop: Callable[[tuple[str, int]], None] = lambda _: None,
        speed: float | None = None,
    ) -> None:
        self.closing = asyncio.Event()
        """Set once the server ends: streams then end too."""
        self._catalog = catalog
        self._drop = drop
        self._speed = speed
        self._feeds = Feeds()
        self._streams = 0
        routes = [
            Route("/", self._front),
            Route("/run/{run}", self._page),
            Route("/static/{path:path}", self._static),
            Route("/api/runs", self._runs),
            Route("/api/runs/{run}/events", self._events),
            Route("/api/runs/{run}/wall", self._wall),
            Route("/api/runs/{run}/final", self._final),
            Route("/api/runs/{run}/figures", self._figures),
            Route("/api/runs/{run}/results", self._results),
            Route("/api/runs/{run}/victim/{number}", self._victim),
            Route("/runs/{run}/files/{path:path}", self._file),
        ]
        inner = Starlette(routes=routes, exception_handlers={HTTPException: _said, 404: _unknown, UserError: _mistake})
        self.app: ASGIApp = Guard(inner, host=host, token=token)

    async def _front(self, request: Request) -> Response:
        del request
        if self._catalog.single is not None:
            return self._rendered("run.html.j2", run=self._catalog.single)
        return self._rendered("index.html.j2", directory=str(self._catalog.root))

    async def _page(self, request: Request) -> Response:
        return self._rendered("run.html.j2", run=self._store(request).path.name)

    def _rendered(self, template: str, **content: str) -> Response:
        shared = {"single": self._catalog.single is not None, "speed": self._speed}
        return HTMLResponse(_templates().get_template(template).render(shared | content))

    async def _static(self, request: Request) -> Response:
        path = static_files().get(request.path_params["path"])
        if path is None:
            raise HTTPException(404, f"no file {request.url.path}")
        return FileResponse(path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    async def _runs(self, request: Request) -> Response:
        del request
        found = await asyncio.to_thread(self._catalog.runs)
        return JSONResponse([run._asdict() for run in found])

    async def _events(self, request: Request) -> Response:
        store = self._store(request)
        start = _offset(request.headers.get("last-event-id") or request.query_params.get("from") or "0")
        speed = _speed(request.query_params.get("speed"))
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._streams >= MOST_STREAMS:
            raise HTTPException(503, f"{MOST_STREAMS} pages are open already: close one, or reload this one later")
        client = request.client
        stream = EventStream(
            self._feeds.of(store.path / EVENTS),
            start,
            speed,
            self.closing,
            drop=lambda: self._drop((client.host, client.port)) if client else None,
        )
        return _Counted(stream, self)  # type: ignore[return-value]

    async def _wall(self, request: Request) -> Response:
        store, cell = self._store(request), request.query_params.get("cell")
        return JSONResponse(await asyncio.to_thread(wall_answers.wall, store, cell))

    async def _final(self, request: Request) -> Response:
        cell, attack = request.query_params.get("cell", ""), request.query_params.get("attack", "")
        found = await asyncio.to_thread(wall_answers.final, self._store(request), cell, attack)
        if found is None:
            raise HTTPException(404, "no such attack on such a cell has come to an end: the wall says which have")
        return JSONResponse(found)

    async def _figures(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(_drawn, self._store(request)))

    async def _results(self, request: Request) -> Response:
        store = self._store(request)
        try:
            text = await asyncio.to_thread((store.path / RESULTS).read_bytes)
        except OSError:
            raise HTTPException(404, "no results yet: they are written once the run has begun") from None
        return Response(text, media_type="application/json")

    async def _victim(self, request: Request) -> Response:
        number = request.path_params["number"]
        found = None
        if number.isascii() and number.isdecimal() and len(number) < 10:
            found = await asyncio.to_thread(wall_answers.victim, self._store(request), int(number))
        if found is None:
            raise HTTPException(404, f"no victim {number}: the wall says which there are")
        return JSONResponse(found)

    async def _file(self, request: Request) -> Response:
        store, path = self._store(request), request.path_params["path"]
        content = await asyncio.to_thread(read_picture, store.path, path)
        if content is None:
            raise HTTPException(404, "no such picture: only PNG files in wall/ and images/ of a run are shown")
        return Response(content, media_type="image/png")

    def _store(self, request: Request) -> RunStore:
        run = request.path_params["run"]
        store = self._catalog.find(run)
        if store is None:
            raise HTTPException(404, f"no run {run}: the front page lists those there are")
        return store


def _drawn(store: RunStore) -> list[dict[str, Any]]:
    """What the finished cells show together."""
    return [figure.to_json() for figure in of_results(store.results)] if store.has_results else []


class _Counted:
    """A stream that takes one of the places while it lasts."""

    def __init__(self, stream: EventStream, view: WebView) -> None:
        self._stream = stream
        self._view = view

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._view._streams += 1
        try:
            await self._stream(scope, receive, send)
        finally:
            self._view._streams -= 1


@cache
def static_files() -> dict[str, Path]:
    """Name below /static/ -> file, of all that may be served."""
    return {
        prefix + path.relative_to(folder).as_posix(): path
        for prefix, folder in STATIC.items()
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)


def _offset(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    raise HTTPException(400, f"an offset of the log is expected, such as 0; got {text[:40]!r}")


def _speed(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if 0 < speed <= FASTEST:
        return speed
    raise HTTPException(400, f"speed is a number above 0 and at most {FASTEST:g}, such as 10; got {text[:40]!r}")


async def _said(request: Request, exception: Exception) -> Response:
    del request
    assert isinstance(exception, HTTPException)
    return error(exception.status_code, exception.detail)


async def _unknown(request: Request, exception: Exception) -> Response:
    assert isinstance(exception, HTTPException)
    detail = exception.detail
    return error(404, f"nothing at {request.url.path}: begin at /" if detail == "Not Found" else detail)


async def _mistake(request: Request, exception: Exception) -> Response:
    del request
    return error(500, str(exception))
