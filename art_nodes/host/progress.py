"""What every node that takes long needs: to be stopped, and to say on the page how far it is."""

from collections.abc import Callable

import comfy.model_management

from .page import running_server

UPDATE_SECONDS = 0.2  # at least, between updates of a bar: each has the host tell every client of the whole graph


def check_interrupt() -> None:
    """Raise the host's own exception if the user has asked to stop."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def node_text(node_id) -> Callable[[str], None]:
    """Shows a text on a node while it runs, on the page that queued it, where the host can do that; else does nothing.

    Newer pages take it away when the run is over.
    """
    server = running_server()
    client = getattr(server, "client_id", None)
    # Without a client the host would tell every page there is, whatever node has that id there.
    if node_id is None or client is None or not hasattr(server, "send_progress_text"):
        return lambda text: None
    return lambda text: server.send_progress_text(text, node_id, client)
