"""Messages between a node and its SuperLink: fetched whole and answered, also where that is away for a while.

A SuperLink that is killed and started again on its database knows which Message it has handed out, and hands it out no
second time: what had begun to be fetched or sent has to be brought to its end, or whoever asked would wait in vain.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar, cast

import httpx
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supernode.fleet_http_client import FleetHttpClient

Request = TypeVar("Request")
Answer = TypeVar("Answer")

AWAY_S = 180.0
"""How long a SuperLink may be away in the midst of a Message."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
"""Between two tries to reach the SuperLink."""
STARTING = (httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT)
"""What is answered for a SuperLink that is only just starting."""


class Mail:
    """Fetches and sends for one node.

    Args:
        client: speaks Flower's Fleet API.
        node: in whose name.
        stopped: once it is set, nothing is tried again.
    """

    def __init__(self, client: FleetHttpClient, node: Node, stopped: threading.Event) -> None:
        self._client = client
        self._node = node
        self._stopped = stopped

    def fetch(self, head: Message, tree: object) -> Message:
        """The whole of a Message, which the SuperLink then forgets.

        Args:
            head: all of it but its content.
            tree: names the parts of its content.

        Raises:
            httpx.HTTPError: the SuperLink cannot be reached, or does not hand it out.
        """
        run = head.metadata.run_id
        identity = head.metadata.message_id
        contents = pull_objects(
            [part.object_id for part in iterate_object_tree(tree)],  # type: ignore[arg-type]
            make_pull_object_fn_protobuf(self._insisting(self._client.PullObject), self._node, run),
        )
        confirm = self._insisting(self._client.ConfirmMessageReceived)
        make_confirm_message_received_fn_protobuf(confirm, self._node, run)(identity)
        message = cast(Message, inflate_object_from_contents(identity, contents))
        message.metadata.__dict__["_message_id"] = identity
        return message

    def send(self, reply: Message) -> None:
        """Send an answer.

        Raises:
            httpx.HTTPError: the SuperLink cannot be reached, or does not take it.
        """
        reply.metadata.__dict__["_message_id"] = reply.object_id
        request = PushMessagesRequest(
            node=self._node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
            clientapp_runtime_list=[0.0],
        )

        def push(request: PushMessagesRequest) -> None:
            pushed = self._client.PushMessages(request)
            push_objects(
                get_all_nested_objects(reply),
                make_push_object_fn_protobuf(
                    self._client.PushObject, self._node, reply.metadata.run_id, pushed.session_id
                ),
                object_ids_to_push=set(pushed.objects_to_push),
            )

        self._insisting(push)(request)  # as a whole: a part that was cut off is taken in a session of its own alone

    def _insisting(self, call: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
        """The same call, which does the same when it is made twice, made again where the SuperLink is away."""

        def insist(request: Request) -> Answer:
            deadline, pause_s = time.monotonic() + AWAY_S, FIRST_PAUSE_S
            while True:
                try:
                    return call(request)
                except (httpx.TransportError, httpx.HTTPStatusError, ObjectPushError) as error:
                    if not _may_pass(error) or time.monotonic() > deadline or self._stopped.wait(pause_s):
                        raise
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

        return insist


def _may_pass(error: Exception) -> bool:
    """Whether it may be otherwise a little later."""
    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code in STARTING
