"""The client's ClientApp for Flower's own SuperNode, which starts a process for every Message.

`splitfed client` needs none of it and is quicker. The SuperNode names the client's settings:
``--node-config 'settings="clients/client-1.toml"'``.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from splitfed.errors import UserError
from splitfed.federation.client_app import build_client_app
from splitfed.federation.roster import ANY
from splitfed.roles.client import HeldImages
from splitfed.roles.config import ClientOptions, load_settings
from splitfed.roles.scoring_client import ScoringClient

SETTINGS_KEY = "settings"


class SuperNodeApp(ClientApp):
    """Reads the client's settings when a Message comes."""

    def __call__(self, message: Message, context: Context) -> Message:
        """The client's answer.

        Raises:
            UserError: the SuperNode names no settings.
        """
        path = context.node_config.get(SETTINGS_KEY)
        if path is None:
            raise UserError(f"give the SuperNode --node-config '{SETTINGS_KEY}=\"client.toml\"'")
        settings = load_settings(ClientOptions, Path(str(path)))
        context.node_config["partition-id"] = ANY if settings.client == "any" else settings.client
        held = HeldImages(settings)
        return ScoringClient(build_client_app(held), held, most=settings.scores)(message, context)


app = SuperNodeApp()
