"""Who may ask this server for anything, and what a browser may do with the answer.

The pages show private images. They are for whoever sits at this machine: another site that a browser has open may
not ask for them (`Origin`, `Sec-Fetch-Site`), nor a name of another site that suddenly means this machine (`Host`).
Bound elsewhere than to this machine alone, the server asks for a token that only its printed address has.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response

from splitfed.views.charts.assets import STYLE_HASH
from splitfed.views.web.port import TOKEN, is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        f"style-src 'self' '{STYLE_HASH}'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Middleware: turns away whoever may not ask, and dresses every answer.

    Args:
        app: what it guards.
        host: what the server is bound to.
        token: what who asks must have; None on a loopback address.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str | None) -> None:
        self._app = app
        self._host = host
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in its place, or let it through."""
        if scope["type"] != "http":
            return  # nothing else is spoken here

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        answer = self._refusal(Headers(scope=scope), scope) or self._admission(Headers(scope=scope), scope)
        await (answer or self._app)(scope, receive, dressed)

    def _refusal(self, headers: Headers, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return error(405, "this server only shows: ask with GET")
        if not self._is_me(headers.get("host", "")):
            return error(403, "another Host than this server's: use the address that it printed")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers["host"]:
            return error(403, "asked by a page of another origin: open the address that this server printed")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not _follows_link(headers):
            return error(403, "asked by a page of another site: open the address that this server printed")
        return None

    def _is_me(self, host: str) -> bool:
        """Whether this is a name of this server; with a token, any that leads here: a stranger's has no cookie."""
        name = _name_of(host)
        if name is None:
            return False
        return self._token is not None or is_loopback(name) or name == self._host

    def _admission(self, headers: Headers, scope: Scope) -> Response | None:
        """None for who has the token; else what to do about it."""
        if self._token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = [value for name, value in query if name == TOKEN]
        if shown and _same(shown[-1], self._token):
            rest = urlencode([(name, value) for name, value in query if name != TOKEN])
            answer = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), status_code=303)
            answer.set_cookie(_cookie_name(scope), self._token, httponly=True, samesite="strict", path="/")
            return answer
        if _same(_cookie(headers, _cookie_name(scope)), self._token):
            return None
        return error(401, "this server asks for the token in the address that it printed (?token=...)")


def error(status: int, message: str) -> JSONResponse:
    """An answer that says what is wrong, and the way out."""
    return JSONResponse({"error": message}, status_code=status)


def _follows_link(headers: Headers) -> bool:
    """Whether a person goes to a page by a link elsewhere: what comes is shown to that person alone."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _name_of(host: str) -> str | None:
    """The name in a Host header, without its port; None where it is none."""
    with suppress(ValueError):
        parts = urlsplit(f"//{host}")
        if parts.hostname and not (parts.username or parts.path or parts.query or parts.fragment):
            parts.port  # noqa: B018 - raises where it is none
            return parts.hostname
    return None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _cookie_name(scope: Scope) -> str:
    """A cookie is for all ports of a host: that of another server here must not take its place."""
    server = scope.get("server")
    return f"splitfed-{server[1] if server else 0}"


def _cookie(headers: Headers, name: str) -> str:
    for part in headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""
