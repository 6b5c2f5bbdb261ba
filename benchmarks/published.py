"""Published optimised tables, as the host's nodes give them, by the family whose checkpoint they were made on."""

import functools

import numpy as np

from benchmarks.comfy.inprocess import import_host

STEPS = 10
GITS_COEFFICIENT = 1.2  # the node's default


@functools.cache
def of_families() -> dict[str, dict[str, np.ndarray]]:
    """Family -> name -> sigmas (11,) of 10 steps, ending at 0."""
    import_host()
    from comfy_extras.nodes_align_your_steps import AlignYourStepsScheduler as AlignYourSteps
    from comfy_extras.nodes_gits import GITSScheduler
    from comfy_extras.nodes_optimalsteps import OptimalStepsScheduler

    def grid(node, *inputs):
        return node.execute(*inputs).result[0].double().numpy()

    gits = grid(GITSScheduler, GITS_COEFFICIENT, STEPS, 1.0)
    steps = {kind: grid(OptimalStepsScheduler, kind, STEPS, 1.0) for kind in ("FLUX", "Wan", "Chroma")}
    return {
        "sd15": {"AYS": grid(AlignYourSteps, "SD1", STEPS, 1.0), "GITS": gits},
        "sdxl": {"AYS": grid(AlignYourSteps, "SDXL", STEPS, 1.0), "GITS": gits},
        "svd": {"AYS": grid(AlignYourSteps, "SVD", STEPS, 1.0)},
        "flux": {"OptimalSteps": steps["FLUX"]},
        "flow": {"OptimalSteps, Wan": steps["Wan"], "OptimalSteps, Chroma": steps["Chroma"]},
    }
