"""Parties reach each other directly: a proxy that is there for the web has no part in it, as on gRPC's wire."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from splitfed.wire.address import join_address, split_address

NO_PROXY = ("no_proxy", "NO_PROXY")
"""Both are in use."""


def go_straight(address: str) -> None:
    """From now on Flower's clients in this process, and in those that it starts, dial this ``host:port`` themselves."""
    host, _ = split_address(address)
    for name in NO_PROXY:
        known = [entry for entry in os.environ.get(name, "").split(",") if entry]
        if host not in known:
            os.environ[name] = ",".join([*known, host])


def is_healthy(address: str, *, ca: Path | None = None, patience_s: float = 2.0) -> bool:
    """Whether GET /health there answers 200.

    Args:
        address: ``host:port``.
        ca: under TLS, the certificate that its own is verified with.
        patience_s: how long the answer may take.
    """
    host, port = split_address(address)
    scheme = "http"
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca is not None:
        scheme = "https"
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca))))
    try:
        url = f"{scheme}://{join_address(host, port)}/health"
        with urllib.request.build_opener(*handlers).open(url, timeout=patience_s) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
