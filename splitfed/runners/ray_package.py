"""Ray as it is used here: an optional extra that tells nobody of its use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from splitfed.errors import UserError

START_ATTEMPTS = 3
_SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; without, it warns
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to Ray's makers
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers are this installation, also where `uv run` started it
}


def load_ray() -> Any:
    """The module `ray`, set so that it reports nothing.

    Raises:
        UserError: it is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UserError("--runner ray needs Ray: pip install 'splitfed[ray]'") from None
    return ray


@contextmanager
def on_loopback(ray: Any) -> Iterator[None]:
    """While it lasts, a Ray that starts listens on the loopback interface alone, and takes no other machine in.

    Ray obeys whoever can reach it, and on Linux listens on all interfaces unless it is told that this platform has no
    clusters.
    """
    constants = ray._private.ray_constants
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def start(ray: Any, **options: Any) -> Any:
    """Start Ray on this machine; what `ray.init` gives.

    Ray gives its own processes half a minute, which on a machine that has much to do may be too little: then once more.

    Raises:
        UserError: it does not start.
    """
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            with on_loopback(ray):
                return ray.init(address="local", include_dashboard=False, log_to_driver=False, **options)
        except Exception as error:  # Ray raises no kind of its own where a process is late
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise UserError(f"Ray does not start on this machine: {error}") from error
    raise AssertionError("unreachable")
