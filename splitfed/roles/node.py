"""A Flower node in this process: it registers with a SuperLink, and answers its Messages until it is stopped.

Flower's own SuperNode starts a process for every Message, which imports PyTorch anew each time, and runs in it what the
server sent. This one stays, with its images and its state, and runs nothing but the ClientApp that it was given. On the
wire both are the same: Flower's Fleet API, spoken with Flower's own client.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TypeVar, cast

import httpx
from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from splitfed.errors import UserError
from splitfed.federation.again import AGAIN, LastAnswers
from splitfed.roles.mail import FIRST_PAUSE_S, LONGEST_PAUSE_S, STARTING, Mail
from splitfed.roles.membership import Membership
from splitfed.roles.node_keys import key_pair, read_file, turned_away
from splitfed.roles.straight import go_straight
from splitfed.runners.answer import answer

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

POLL_S, LONGEST_POLL_S = 0.1, 0.5
"""Between two looks for Messages: short after one, longer the longer there was none."""
HEARTBEAT_S, ANNOUNCED_S = 10.0, 30.0
"""Between two signs of life, and what is announced: a node that gives none for twice that is taken for gone. The
difference is for machines that have too much to do."""
LEAVE_S = 3.0
"""How long answers that are under way are waited for at the end, and how long taking leave may take."""

LATER = {
    **dict.fromkeys(STARTING, "it is only just starting"),
    httpx.codes.PRECONDITION_FAILED: "it does not know this node's key yet (splitfed certs --register), or holds its "
    "place for a process that was killed, which takes a minute",
}
"""What may be otherwise a little later."""
TURNED_AWAY = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
"""Of one that does not know the node's key."""


class FlowerNode:
    """LastAnswers a SuperLink's Messages with `app`; a context manager around `serve`.

    Each Message has a thread of its own, as one that the server has given up must not keep the next one waiting.

    Raises:
        UserError: the key or the certificate cannot be read.
    """

    def __init__(self, app: ClientApp, membership: Membership, stopped: threading.Event) -> None:
        self._app = app
        self._membership = membership
        self._stopped = stopped
        self._threads: list[threading.Thread] = []
        self._state = RecordDict()
        self._answers = LastAnswers()
        self._private, self._public = key_pair(membership.key)
        go_straight(membership.superlink)
        self._node: Node | None = None
        self._client = FleetHttpClient.from_server_address(
            membership.superlink,
            membership.ca is None,
            None if membership.ca is None else read_file(membership.ca),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(self._private, self._public),
            ],
        )

    def __enter__(self) -> FlowerNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + LEAVE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._leave()
        self._client.__exit__(None, None, None)

    def serve(self, on_ready: Callable[[], None]) -> None:
        """Answer Messages until `stopped` is set; register anew with a SuperLink that has forgotten this node.

        Args:
            on_ready: called each time that the SuperLink has taken the node in.

        Raises:
            UserError: the SuperLink turns the node away.
        """
        while not self._stopped.is_set():
            if not self._join():
                return
            on_ready()
            self._answer_until_forgotten()

    def _join(self) -> bool:
        """Register, as soon as the SuperLink can be reached; False where stopped before."""
        self._node = None
        public = public_key_to_bytes(self._public)
        if self._membership.key is None:
            self._call(partial(self._client.RegisterNode, RegisterNodeFleetRequest(public_key=public)))
        request = ActivateNodeRequest(public_key=public, heartbeat_interval=ANNOUNCED_S)
        activated = self._call(partial(self._client.ActivateNode, request))
        if activated is None:
            return False
        self._node = Node(node_id=activated.node_id)
        threading.Thread(target=self._live, args=(self._node,), daemon=True, name="heartbeat").start()
        return True

    def _live(self, node: Node) -> None:
        """Give signs of life for as long as this is the node."""
        request = SendNodeHeartbeatRequest(node=node, heartbeat_interval=ANNOUNCED_S)
        while not self._stopped.wait(HEARTBEAT_S) and node is self._node:
            try:
                self._client.SendNodeHeartbeat(request)
            except (httpx.HTTPError, RuntimeError) as error:
                logger.debug("a sign of life did not arrive: %s", error)

    def _answer_until_forgotten(self) -> None:
        pause_s = POLL_S
        while not self._stopped.is_set():
            try:
                pulled = self._call(partial(self._client.PullMessages, PullMessagesRequest(node=self._node)))
            except _Forgotten:
                logger.warning("the SuperLink at %s does not know this node any more; it registers anew", self.where)
                return
            if pulled is None or not pulled.messages_list:
                self._stopped.wait(pause_s)
                pause_s = min(1.5 * pause_s, LONGEST_POLL_S)
                continue
            pause_s = POLL_S
            trees = zip(pulled.messages_list, pulled.message_object_trees, strict=True)
            for head, tree in trees:
                thread = threading.Thread(target=self._take, args=(head, tree), daemon=True, name="message")
                self._threads = [other for other in self._threads if other.is_alive()] + [thread]
                thread.start()

    def _take(self, head: object, tree: object) -> None:
        """Fetch one Message, have it answered, and send the answer; whoever asked is not there any more, say, is no
        fault of this node's."""
        try:
            mail = Mail(self._client, cast(Node, self._node), self._stopped)
            message = mail.fetch(message_from_proto(head), tree)  # type: ignore[arg-type]
            if message.metadata.message_type == AGAIN:
                mail.send(self._answers.about(message))
            elif self._answers.begin(message):
                reply = answer(self._app, message, self._context(message.metadata.run_id))
                self._answers.keep(message, reply)
                mail.send(reply)
        except httpx.HTTPStatusError as error:  # of a run that is over meanwhile, say
            logger.info("a Message was not answered: the SuperLink says %d", error.response.status_code)
        except Exception as error:
            logger.warning("a Message was not answered: %s", str(error) or type(error).__name__)

    def _context(self, run: int) -> Context:
        config: UserConfig = {"partition-id": self._membership.number}
        node = cast(Node, self._node).node_id
        return Context(run_id=run, node_id=node, node_config=config, state=self._state, run_config={})

    def _call(self, call: Callable[[], Answer]) -> Answer | None:
        """What the SuperLink answers, as soon as it can be reached; None where stopped before.

        Raises:
            _Forgotten: it answers that it knows no such node.
            UserError: it turns this one away, or what listens there is no SuperLink.
        """
        pause_s, told = FIRST_PAUSE_S, False
        while not self._stopped.is_set():
            try:
                return call()
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                if "CERTIFICATE" in reason.upper() or "SSL" in reason.upper():
                    raise UserError(f"SuperLink {self.where}: {reason}; see the certificates of both ends") from None
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                own_key = self._membership.key is None  # one that it can register itself
                if status not in LATER and self._node is not None and (own_key or status not in TURNED_AWAY):
                    raise _Forgotten from None
                if status in TURNED_AWAY:
                    raise UserError(turned_away(self.where, self._membership.key)) from None
                if status not in LATER:
                    raise UserError(
                        f"SuperLink {self.where}: it answers {status}: {error.response.text[:300]}"
                    ) from None
                reason = LATER[httpx.codes(status)]
            if not told:
                told = True
                logger.info("no place at the SuperLink %s yet (%s); trying on", self.where, reason)
            self._stopped.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return None

    @property
    def where(self) -> str:
        """The SuperLink's address."""
        return self._membership.superlink

    def _leave(self) -> None:
        """Take leave, so that nobody waits for this node; where the SuperLink cannot be reached, it will notice."""
        node, self._node = self._node, None
        if node is None:
            return
        try:
            self._client.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))
            if self._membership.key is None:
                self._client.UnregisterNode(UnregisterNodeFleetRequest(node_id=node.node_id))
        except (httpx.HTTPError, RuntimeError) as error:
            logger.debug("no leave was taken: %s", error)


class _Forgotten(Exception):
    """The SuperLink knows no such node."""
