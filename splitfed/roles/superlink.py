"""The lab's way to a SuperLink: order a cell, ask how it stands, have it stopped."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, RegisterNodeRequest, StartRunRequest, StopRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from splitfed.errors import SplitfedError, UserError
from splitfed.records.record import to_json
from splitfed.roles.order import RUN_CONFIG_KEY, Order
from splitfed.roles.straight import go_straight

Answer = TypeVar("Answer")

FINISHED, COMPLETED = "finished", "completed"


class Standing(NamedTuple):
    """How a run stands: what became of it once it is finished."""

    finished: bool
    completed: bool
    details: str


class SuperLinkAway(UserError):
    """It cannot be reached at this moment."""


class SuperLink:
    """A context manager.

    Args:
        address: ``host:port``.
        ca: the certificate that its own is verified with; without, the link is in clear.
    """

    def __init__(self, address: str, ca: Path | None = None) -> None:
        self.address = address
        go_straight(address)
        self._client = ControlHttpClient.from_server_address(
            address,
            ca is None,
            None if ca is None else ca.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="CLI")],
        )

    def __enter__(self) -> SuperLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(None, None, None)

    def order(self, order: Order) -> int:
        """Have this cell trained; the number of Flower's run.

        Raises:
            UserError: the SuperLink cannot be reached, or turns the order away.
        """
        with warnings.catch_warnings():  # Flower asks another library in a way that this has given up
            warnings.simplefilter("ignore", DeprecationWarning)
            content, _ = build_fab_from_files({"pyproject.toml": app_definition()})
        request = StartRunRequest(
            fab=fab_to_proto(Fab(hashlib.sha256(content).hexdigest(), content, {})),
            override_config=user_config_to_proto({RUN_CONFIG_KEY: to_json(order).decode()}),
            federation="",
        )
        started = self._asked(lambda: self._client.StartRun(request))
        if not started.HasField("run_id"):
            raise SplitfedError(f"the SuperLink at {self.address} started no run")
        return int(started.run_id)

    def register(self, key: Path) -> bool:
        """Have the node with this public key let in; False where it is known already.

        Raises:
            UserError: the SuperLink cannot be reached, or the file is no public key.
        """
        try:
            public = load_ssh_public_key(key.read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"{key} is no public key in OpenSSH's form: {error}") from None
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise UserError(f"{key} is no elliptic-curve key: Flower wants one, as splitfed certs makes it")
        try:
            self._client.RegisterNode(RegisterNodeRequest(public_key=public_key_to_bytes(public)))
        except httpx.HTTPStatusError as error:
            said = FlowerError.from_json(error.response.text)
            if said is not None and said.code == ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE:
                return False
            raise UserError(
                f"the SuperLink at {self.address} does not take {key}: {error.response.text[:300]}"
            ) from None
        except httpx.TransportError as error:
            raise self._away(error) from None
        return True

    def standing(self, run: int) -> Standing:
        """How this run stands.

        Raises:
            UserError: the SuperLink cannot be reached, or knows no such run.
        """
        listed = self._asked(lambda: self._client.ListRuns(ListRunsRequest(run_id=run)))
        found = listed.run_dict.get(run)
        if found is None:
            raise SplitfedError(f"the SuperLink at {self.address} knows no run {run}: was it started anew?")
        status = found.status
        return Standing(status.status == FINISHED, status.sub_status == COMPLETED, status.details)

    def stop(self, run: int) -> None:
        """Have this run stopped; one that is over already, or a SuperLink that is gone, is all right."""
        try:
            self._client.StopRun(StopRunRequest(run_id=run))
        except (httpx.HTTPError, RuntimeError):
            return

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except httpx.TransportError as error:
            raise self._away(error) from None
        except httpx.HTTPStatusError as error:
            said = error.response.text[:300]
            raise UserError(f"the SuperLink at {self.address} answers {error.response.status_code}: {said}") from None

    def _away(self, error: httpx.TransportError) -> SuperLinkAway:
        return SuperLinkAway(
            f"the SuperLink at {self.address} cannot be reached ({str(error) or type(error).__name__}): see that it "
            "runs, and whether it wants TLS"
        )


def app_definition() -> bytes:
    """The Flower app that the lab orders with: one file, whose parts are in this package."""
    return (files("splitfed.roles") / "app" / "pyproject.toml").read_bytes()
