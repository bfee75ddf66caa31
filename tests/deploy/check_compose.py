"""docker-compose.yml, run for real: to its table, under TLS, with parties that are killed, and what is kept apart.

    python -m tests.deploy.check_compose [--without-engine] [plain] [tls]

The image is built from the Dockerfile; its heavy layers are this environment's own packages, mounted. Where there is no
engine, or with ``--without-engine``, each service runs its exact command in network namespaces of its own instead.
`make compose-check` runs it. It exits with 1 where something is not as it should be, and with 0, loudly, where neither
can be done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.deploy.checks import CHECKS
from tests.deploy.containers import check_containers
from tests.deploy.engine import NoEngine
from tests.deploy.namespaces import check_namespaces
from tests.deploy.world import NoWorld


def say(text: str) -> None:
    """Tell whoever runs the checks."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_loudly(text: str) -> None:
    """The same, so that nobody misses it."""
    line = "!" * 100
    say(f"{line}\n{text}\n{line}")


def main(arguments: Sequence[str]) -> int:
    """Run the checks of these profiles; says what each took."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.check_compose", description=__doc__.splitlines()[0])
    parser.add_argument("profiles", nargs="*", choices=[*CHECKS, []], metavar="profile", help=", ".join(CHECKS))
    parser.add_argument("--without-engine", action="store_true", help="in namespaces, even where there is an engine")
    wanted = parser.parse_args(arguments)
    profiles = wanted.profiles or list(CHECKS)
    reason = "asked for"
    if not wanted.without_engine:
        try:
            check_containers(profiles, say)
        except NoEngine as missing:
            reason = str(missing)
        else:
            return 0
    say_loudly(f"NO CONTAINERS ARE CHECKED: {reason}.\nEach service runs in network namespaces of its own instead.")
    try:
        check_namespaces(profiles, say)
    except NoWorld as missing:
        say_loudly(f"NOR ARE NAMESPACES: {missing}.\nNOTHING WAS CHECKED of docker-compose.yml.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
