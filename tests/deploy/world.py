"""A world of its own for a command: its network, its mounts, its processes. All of it ends when the command does.

Whatever is made inside, namespaces by name, bridges, mounts, files under /run, is seen by nobody outside, collides with
nothing, and is taken back by the kernel as soon as the command has ended: by itself, by Ctrl-C, or killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TOOLS = ("ip", "mount", "nsenter", "pivot_root", "setpriv", "umount", "unshare")
NEW = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
RUN = Path("/run")
"""Of the world alone: `enter` empties it."""
TRIAL = f"""\
mount -t tmpfs tmpfs {RUN} &&
ip netns add tried &&
ip link add name bridge type bridge &&
ip link add name port type veth peer name eth0 netns tried"""


class NoWorld(Exception):
    """None can be made here."""


def command_in_world(command: Sequence[str]) -> list[str]:
    """The command that runs this one in a world of its own, and ends with the process that starts it.

    Raises:
        NoWorld: with the reason.
    """
    if os.geteuid() != 0 or sys.platform != "linux":
        raise NoWorld("only root on Linux can make network namespaces")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise NoWorld(f"{' and '.join(missing)} (of iproute2 and util-linux) are not installed")
    tried = subprocess.run([*NEW, "sh", "-c", TRIAL], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NoWorld(f"namespaces and bridges cannot be made: {tried.stderr.strip()}")
    return ["setpriv", "--pdeathsig", "KILL", *NEW, *command]


def enter() -> None:
    """First of all, inside: see to it that what follows is not left to what was set outside.

    Raises:
        RuntimeError: this is no world of its own.
    """
    if os.getpid() != 1:
        raise RuntimeError("this would change the machine's own network and mounts; run it by `command_in_world`")
    os.umask(0o022)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(RUN)], check=True)
