"""What a node answers to a Message: what its ClientApp makes of it, or why it cannot."""

from __future__ import annotations

import traceback
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from splitfed.errors import LinkLost, PluginError, Refused, SplitfedError, out_of_memory
from splitfed.federation.attendance import CLIENT_HINDERED, CLIENT_RAISED

HINDRANCES = (LinkLost, OSError, PluginError)
"""What a client may meet once and not again, whatever its settings are; as it may run out of memory. A plug-in can be
mended."""
NOT_ITS_FAULT = frozenset({"INTERNAL", "TOO_MANY_STREAMS"})
"""Refusals that lie with the server."""


def answer(app: ClientApp, message: Message, context: Context) -> Message:
    """The reply of `app`, or an error that says whether another try may go well."""
    node = message.metadata.dst_node_id
    try:
        reply = app(message, context)
        if not isinstance(reply, Message) or reply.metadata.src_node_id != node:
            raise SplitfedError(f"its ClientApp gave {reply!r:.200}; expected its own reply")
        return reply
    except BaseException as error:  # a client that leaves the interpreter is a lost client, no more
        refused_by_server = isinstance(error, Refused) and error.reason in NOT_ITS_FAULT
        hindered = isinstance(error, HINDRANCES) or refused_by_server or out_of_memory(error)
        return Message(Error(CLIENT_HINDERED if hindered else CLIENT_RAISED, _reason(error)), reply_to=message)


def _reason(error: BaseException) -> str:
    """What a client says of its error; of one that is not ours also where it was raised."""
    said = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SplitfedError):
        return said
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said} ({Path(place.filename).name} line {place.lineno})"
