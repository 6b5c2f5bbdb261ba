"""The clock: sigma as a function of clock time, and what it costs on a bank.

Clock time is t in [0, T]; here it is the share t/T in [0, 1]. A clock is kept as its
sigma values at equally spaced times, from sigma_max down to exactly 0.
"""

import numpy as np

from .bank import OrbitBank
from .checks import check_step_grid

STARTS_ALIKE = 1e-3  # largest relative difference between a grid's first sigma and the bank's


def _monotone_slopes(values: np.ndarray) -> np.ndarray:
    """Node derivatives of a monotone cubic through equally spaced values (Fritsch-Carlson, harmonic mean)."""
    step = np.diff(values)
    slopes = np.empty_like(values)
    product = step[:-1] * step[1:]
    slopes[1:-1] = np.where(product > 0, 2 * product / (step[:-1] + step[1:]), 0.0)
    slopes[0], slopes[-1] = step[0], step[-1]
    return slopes


def read_clock(clock: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Sigma of a clock (N + 1,) at times in [0, 1]; monotone cubic, exact at the clock's own nodes."""
    position = np.clip(times, 0.0, 1.0) * (len(clock) - 1)
    cell = np.minimum(position.astype(int), len(clock) - 2)
    u = position - cell
    slopes = _monotone_slopes(clock)
    low, high, d0, d1 = clock[cell], clock[cell + 1], slopes[cell], slopes[cell + 1]
    cubic = low + u * (d0 + u * ((3 * (high - low) - 2 * d0 - d1) + u * (d0 + d1 - 2 * (high - low))))
    return np.where(times >= 1.0, clock[-1], cubic)


def time_of_sigma(clock: np.ndarray, sigma: float) -> float:
    """The time in [0, 1] at which a clock reaches `sigma`: 0 above its range, 1 at 0; bisection."""
    if sigma >= clock[0]:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if read_clock(clock, np.array([middle]))[0] > sigma else (low, middle)
    return 0.5 * (low + high)


def optimal_clock(bank: OrbitBank, nodes: int) -> np.ndarray:
    """The closed form: step density proportional to sqrt(E|Q|); (nodes + 1,) sigmas. docs/theory.md, eq. (8)."""
    density = np.sqrt(bank.mean_stiffness) * -np.diff(bank.edges)
    time = np.append(0.0, np.cumsum(density)) / density.sum()
    time[-1] = 1.0
    sigmas = np.interp(np.linspace(0, 1, nodes + 1), time, bank.edges)
    sigmas[0], sigmas[-1] = bank.sigma_max, 0.0
    return sigmas


def steepness(bank: OrbitBank, nodes: int) -> float:
    """By how many e-folds the optimal clock's speed falls from one of `nodes` steps to the next, where most; >= 0.

    The mean of the three largest falls, as single ones are noise.
    """
    speeds = -np.diff(optimal_clock(bank, nodes))
    falls = np.sort(-np.diff(np.log(speeds)))[-3:]
    return max(float(falls.mean()), 0.0)


def optimal_cost(bank: OrbitBank) -> float:
    """J* = (integral of sqrt(E|Q|) d psi)^2 / T, the least objective that any shared clock can have."""
    widths = -np.diff(bank.edges)
    return float((np.sqrt(bank.mean_stiffness) * widths).sum() ** 2 / bank.sigma_max)


def stiffness_integral(bank: OrbitBank, sigmas: np.ndarray) -> np.ndarray:
    """Integral of E|Q| d psi from sigma_max down to each of `sigmas`; exact for the bank's cells."""
    widths = -np.diff(bank.edges)
    total = np.append(0.0, np.cumsum(bank.mean_stiffness * widths))
    return np.interp(-np.asarray(sigmas, dtype=float), -bank.edges, total)


def grid_cost(bank: OrbitBank, sigmas) -> float:
    """J of a grid as a multiple of J*: the sum over its steps of theta times the integral of |Q|.

    `sigmas` (K + 1,) descending, ending at 0. A grid of K steps is read as K equal pieces of
    clock time at constant speed, so theta_k = K (sigma_k - sigma_{k+1}) / T (docs/theory.md, eq. 6).
    Raises ValueError for a grid that does not fall to 0 or does not start at the bank's sigma_max: one that leaves
    out a part of the range would seem better than the optimum.
    """
    grid = check_step_grid(sigmas)
    if abs(grid[0] / bank.sigma_max - 1) > STARTS_ALIKE:
        raise ValueError(f"a grid must start at the bank's sigma_max, {bank.sigma_max:g}; got {grid[0]:g}; take "
                         f".sigmas(steps, sigma_max={bank.sigma_max:g}) of a schedule, or a bank of its range")
    speed = -np.diff(grid) * (len(grid) - 1) / bank.sigma_max
    return float((speed * np.diff(stiffness_integral(bank, grid))).sum() / optimal_cost(bank))
