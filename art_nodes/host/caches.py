"""Caches on a MODEL that answer in the model's place: no schedule may be learned on, or judged by, their guesses."""

# What such nodes leave on a model: the host's EasyCache and LazyCache; TeaCache and MagCache of other packs.
# First-block caches leave nothing to know them by.
MARKS = ("easycache", "lazycache", "teacache", "rel_l1_thresh", "magcache")


def check_uncached(model) -> None:
    """ValueError where a node on the MODEL skips model calls and answers with what it remembers of earlier ones."""
    options = model.model_options.get("transformer_options", {})
    wrappers = [getattr(model, "wrappers", {}), options.get("wrappers", {})]
    names = [*options, *(key for kinds in wrappers for kind in kinds.values() for key in kind)]
    found = sorted({str(name) for name in names if any(mark in str(name).lower() for mark in MARKS)})
    if found:
        raise ValueError(f"the model must answer every call itself; a cache on it ({', '.join(found)}) guesses some of "
                         "the answers; connect the model from before that node here; for sampling you may keep it")
