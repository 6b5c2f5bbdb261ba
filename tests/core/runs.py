"""Made-up runs for trials of grids, whose best grid is known."""

import numpy as np

from art_nodes.core.refine import grids_of, lengths_of
from tests.core import targets

HIGH, _ = targets.SDXL_RANGE
STEPS = 6


class Linear:
    """Runs whose error is linear in the ln step lengths, and least, but not 0, at those of `best`."""

    def __init__(self, best, sizes=(2, 2, 2, 2), seed=0):
        rng = np.random.default_rng(seed)
        self.sizes, self.place, self.made, self.floor = list(sizes), lengths_of(best, best[0]), 0, 0.0
        self.slopes = [rng.normal(size=(size, 40, len(self.place))) for size in sizes]
        # At right angles to all slopes: nothing that a grid could take away.
        self.rest = [np.stack([_apart(slope, rng) for slope in part]) for part in self.slopes]

    def calls(self, steps):
        return steps

    def errors(self, grid, batch):
        self.made += self.sizes[batch] * (len(grid) - 1)
        return self.slopes[batch] @ (lengths_of(grid, grid[0]) - self.place) + self.rest[batch]


def _apart(slopes, rng):
    free = rng.normal(size=len(slopes))
    return free - slopes @ np.linalg.lstsq(slopes, free, rcond=None)[0]


class Scattered(Linear):
    """Runs of orbits that share an error, `common` times the usual, and each miss by a luck of their own."""

    def __init__(self, best, common, orbits=24):
        super().__init__(best, [2] * (orbits // 2))
        rng = np.random.default_rng(1)
        shared, luck = common * rng.normal(size=(40, len(self.place))), 5 * rng.normal(size=(orbits, 40))
        self.slopes = [np.stack([shared, shared])] * (orbits // 2)
        self.rest = list(luck.reshape(orbits // 2, 2, 40))
        self.pool = lambda errors: errors.mean(axis=0)


class Trap(Linear):
    """Runs whose error does not move near some grids, where it is below that of the other candidates."""

    def __init__(self, best, *traps):
        super().__init__(best, (2,) * 8)
        self.traps = [lengths_of(trap, trap[0]) for trap in traps]

    def errors(self, grid, batch):
        found, place = super().errors(grid, batch), lengths_of(grid, grid[0])
        return np.full_like(found, 2.0) if any(np.abs(place - trap).max() < 0.6 for trap in self.traps) else found


class Constant:
    """Runs that all end the same way, whatever the grid, or not at all."""

    sizes, floor = (2, 2, 2, 2), 0.0

    def __init__(self, value=1.0):
        self.value = value

    def calls(self, steps):
        return steps

    def errors(self, grid, batch):
        return np.full((2, 5), self.value)


def geometric(steps=STEPS, low=0.1):
    return np.append(np.geomspace(HIGH, low, steps), 0.0)


def moved(grid, by):
    return grids_of((lengths_of(grid, grid[0]) + by)[None], grid[0])[0]
