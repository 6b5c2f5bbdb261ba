"""What only newer hosts know of nodes and inputs; older ones do without."""

import inspect

from comfy_api.latest import io

# A seed that changed after each run would train anew each time: fixed where the host can say so, else the page sets it.
SEED_CONTROL = getattr(getattr(io, "ControlAfterGenerate", None), "fixed", None)


def folded(kind) -> dict:
    """Of an input of this kind: the page folds it away until it is asked for."""
    return {"advanced": True} if "advanced" in inspect.signature(kind.Input.__init__).parameters else {}


def found_by(*words: str) -> dict:
    """Of a node: what else the page's search finds it by."""
    return {"search_aliases": list(words)} if "search_aliases" in inspect.signature(io.Schema).parameters else {}
