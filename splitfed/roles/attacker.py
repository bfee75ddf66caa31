"""The attacker's role in a deployment."""

from __future__ import annotations

import logging
import os
import threading

from splitfed.attacker.role import PATIENT
from splitfed.roles.config import AttackerNodeOptions
from splitfed.roles.health import Health

logger = logging.getLogger(__name__)


def play(settings: AttackerNodeOptions, stopped: threading.Event) -> None:
    """Relay and attack whatever is trained, until `stopped` is set.

    Raises:
        UserError: the SuperLink turns it away, an address cannot be listened on, or its own images do not fit.
    """
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)  # read when PyTorch is imported
    from splitfed.roles.attacker_node import AttackerNode
    from splitfed.roles.node import FlowerNode

    ready = threading.Event()
    with (
        Health(settings.health, ready),
        AttackerNode(settings) as attacker,
        FlowerNode(attacker.app, settings.membership(), stopped) as node,
    ):

        def say_ready() -> None:
            ready.set()
            logger.info("ready: %s leads to %s; registered at %s", attacker.address, settings.upstream, node.where)

        node.serve(say_ready)
