"""What nodes and routes need of the page: who asks, where a node is there, and how its words get there."""

import sys


def running_server():
    """The running host's server, or None; importing it elsewhere would make half a server."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def node_place(hidden) -> dict:
    """Where a node is, as the page calls it, from its hidden inputs `unique_id` and `extra_pnginfo`: id and workflow.

    Of several workflows that are open in a page each may have a node of that id.
    """
    extra, node_id = getattr(hidden, "extra_pnginfo", None), getattr(hidden, "unique_id", None)
    workflow = extra.get("workflow") if isinstance(extra, dict) else None
    known = workflow.get("id") if isinstance(workflow, dict) else None
    return {"node": None if node_id is None else str(node_id), "workflow": known if isinstance(known, str) else None}


def told(hidden, text: str) -> dict:
    """What a node says in words when it has run, for its `ui`; the page shows it below the node's widgets."""
    return {"text": [text], "art_told": [{**node_place(hidden), "text": text}]}
