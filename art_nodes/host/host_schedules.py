"""The host's schedules outside its list of schedulers: those of its nodes, as the nodes make them by default."""

import importlib
from collections.abc import Callable

import comfy.k_diffusion.sampling as formulas
import comfy.samplers
import numpy as np
import torch

AYS = ("AYS SD1", "AYS SDXL", "AYS SVD")  # tables of the host's AlignYourSteps node
GITS, GITS_COEFFICIENT = "GITS", 1.2  # its node's default
OPTIMAL_STEPS = ("OptimalSteps FLUX", "OptimalSteps Wan", "OptimalSteps Chroma")  # tables of that node
TABLES = (*AYS, GITS, *OPTIMAL_STEPS)  # made for one kind of model, whatever the model's range is


def usable_grid(make: Callable) -> np.ndarray | None:
    """The grid as float64, or None if it raises, is NaN, rises or does not end at 0, which it reaches but once."""
    try:
        grid = np.asarray(torch.as_tensor(make()).detach().cpu().double())  # not every device has float64
    except Exception:  # other packs' schedulers may fail in any way; the report says "no grid"
        return None
    good = grid.ndim == 1 and len(grid) >= 2 and np.isfinite(grid).all() and grid[-1] == 0 and grid[-2] > 0
    return grid if good and (np.diff(grid) <= 0).all() else None


def starts_at(grid, sigma_max: float) -> bool:
    """Whether a grid covers a model's range from the top: a table of another range is for another kind of model."""
    return abs(float(grid[0]) / sigma_max - 1) < 0.01


def _table(module: str, node_name: str, kind) -> Callable:
    """Maker of the grid that a node reads off a table of its own: through V3 in newer hosts, V1 before."""
    def make(sampling, steps: int):
        node = getattr(importlib.import_module(f"comfy_extras.{module}"), node_name)
        if hasattr(node, "execute"):
            return node.execute(kind, steps, 1.0).result[0]
        return node().get_sigmas(kind, steps, 1.0)[0]

    return make


def _range(sampling) -> dict[str, float]:
    return {"sigma_min": float(sampling.sigma_min), "sigma_max": float(sampling.sigma_max)}


def _laplace(sampling, steps: int):
    """Its last sigma is replaced by 0: as it comes it leaves noise in the picture."""
    grid = formulas.get_sigmas_laplace(n=steps + 1, **_range(sampling))
    grid[-1] = 0.0
    return grid


# Name -> maker of (K + 1,) sigmas from a model's noise levels and K. beta57 is what other packs call that.
NODES: dict[str, Callable] = {
    **{name: _table("nodes_align_your_steps", "AlignYourStepsScheduler", name.removeprefix("AYS ")) for name in AYS},
    GITS: _table("nodes_gits", "GITSScheduler", GITS_COEFFICIENT),
    **{name: _table("nodes_optimalsteps", "OptimalStepsScheduler", name.removeprefix("OptimalSteps "))
       for name in OPTIMAL_STEPS},
    "polyexponential": lambda sampling, steps: formulas.get_sigmas_polyexponential(n=steps, **_range(sampling)),
    "laplace": _laplace,
    "beta57": lambda sampling, steps: comfy.samplers.beta_scheduler(sampling, steps, alpha=0.5, beta=0.7),
}


def of_node(name: str, sampling, steps: int) -> np.ndarray | None:
    """The grid (K + 1,) of one of NODES for a model's noise levels, or None where it has none."""
    return usable_grid(lambda: NODES[name](sampling, steps))
