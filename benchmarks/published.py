"""Published optimised tables, as the host's nodes give them, by the family whose checkpoint they were made on."""

import functools

import numpy as np

from benchmarks.comfy.inprocess import import_host

STEPS = 10


@functools.cache
def of_families() -> dict[str, dict[str, np.ndarray]]:
    """Family -> name -> sigmas (11,) of 10 steps, ending at 0."""
    import_host()
    from art_nodes.host.host_schedules import of_node

    names = {"sd15": {"AYS": "AYS SD1", "GITS": "GITS"}, "sdxl": {"AYS": "AYS SDXL", "GITS": "GITS"},
             "svd": {"AYS": "AYS SVD"}, "flux": {"OptimalSteps": "OptimalSteps FLUX"},
             "flow": {"OptimalSteps, Wan": "OptimalSteps Wan", "OptimalSteps, Chroma": "OptimalSteps Chroma"}}
    # Tables ask for no model's noise levels.
    return {family: {title: of_node(name, None, STEPS) for title, name in tables.items()}
            for family, tables in names.items()}
