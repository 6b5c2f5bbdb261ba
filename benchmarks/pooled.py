"""A grid for a model that is not here, from several that are: where the worst of them is foretold to fare best.

How soon a rectified flow's pictures take shape differs from model to model more than anything else, and a grid that is
best on one may be far behind a plain one on the next.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from art_nodes.core import OrbitBank
from art_nodes.core.clock import read_clock
from art_nodes.core.objectives import SamplerError
from art_nodes.core.refine import REFINED_STEPS, best_grid

KINDS = ("end", "residual")  # how errors shrink on their way differs too, and what steps leave knows nothing of it
POWER = 8  # of the ratios whose mean is least: close to the largest of them, and smooth
FREEDOM = 6  # hat functions that ln step lengths are made of: the finer turns of a best grid are one model's own
SHIFT = 3.0  # Stable Diffusion 3's, of the plain schedule that grids are held against
# How far to go, in ln sigma, from `simple` to the grid that is found: of a sampler that looks back less of what a
# recording foretells holds on another model.
WAY = {"euler": 1.0, "dpmpp_2m": 0.5}
SUMMED = 16  # orbits that residuals are summed on: each orbit's are apart, where those of `end` go by the mean


def simple(steps: int, shift: float = SHIFT) -> np.ndarray:
    """(steps + 1,) sigmas of the host's `simple` on a rectified flow with this shift."""
    time = np.linspace(1, 0, steps + 1)
    return shift * time / (1 + (shift - 1) * time)


class PooledRatio:
    """What best_grid takes for an error: a grid's foretold error over that of `simple`, on several flows' banks.

    The mean of POWER-th powers over banks and KINDS. Errors do not grow (gamma of eq. (16) is 0), as in all that is
    carried from one model to another.
    """

    kind, is_square = "pooled", True

    def __init__(self, banks: Sequence[OrbitBank], sampler: str):
        self.sampler = sampler
        banks = [dataclasses.replace(bank, detail=None, spectrum=None, ends=None) for bank in banks]
        fewer = [dataclasses.replace(bank, stiffness=bank.stiffness[:SUMMED], gram=bank.gram[:SUMMED])
                 for bank in banks]
        self.errors = [SamplerError(bank, f"{kind}:{sampler}", growth=0.0)
                       for kind, many in zip(KINDS, (banks, fewer), strict=True) for bank in many]
        # Where searches begin and which range they keep to. Pictures of different sizes have no products in common.
        self.bank = OrbitBank.merge(dataclasses.replace(bank, gram=None) for bank in fewer)
        self.plain = functools.cache(self._plain)

    def _plain(self, steps: int) -> np.ndarray:
        return np.array([error(simple(steps)[None])[0] for error in self.errors])

    def ratios(self, grids: np.ndarray) -> np.ndarray:
        """(E, G) foretold errors of grids (G, K + 1) over those of `simple`, for each bank by each of KINDS."""
        return np.stack([error(grids) for error in self.errors]) / self.plain(grids.shape[1] - 1)[:, None]

    def __call__(self, grids: np.ndarray) -> np.ndarray:
        """What is least where the worst ratio is; (G, K + 1) -> (G,)."""
        return (self.ratios(grids) ** POWER).mean(axis=0) ** (1 / POWER)


def pooled_grids(banks: Sequence[OrbitBank], sampler: str, steps: Iterable[int] = REFINED_STEPS
                 ) -> dict[int, np.ndarray]:
    """Number of steps -> the grid (K + 1,) that is best for one of WAY in the worst case over banks of flows."""
    error, grids = PooledRatio(banks, sampler), {}
    for count in sorted(steps):
        starts = [simple(count), *(best_grid(alone, count, freedom=FREEDOM) for alone in error.errors)]
        starts += [read_clock(grid, np.linspace(0, 1, count + 1)) for grid in list(grids.values())[-1:]]
        grids[count] = best_grid(error, count, starts, FREEDOM)
    return {count: part_of_the_way(grid, WAY[sampler]) for count, grid in grids.items()}


def part_of_the_way(grid: np.ndarray, way: float) -> np.ndarray:
    """From `simple` to a grid (K + 1,) of a flow, by the geometric mean of their sigmas with the weight `way`."""
    plain = simple(len(grid) - 1)
    return np.append(plain[:-1] ** (1 - way) * grid[:-1] ** way, 0.0)
