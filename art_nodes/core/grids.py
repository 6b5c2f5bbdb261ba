"""Classic step grids, which papers compare with, (steps + 1,) float64, descending to 0; and hat functions."""

import numpy as np

from .checks import check_sigma_range, check_steps

RHO = 7.0  # EDM's


def uniform_grid(steps: int, sigma_max: float) -> np.ndarray:
    """Equal steps in sigma."""
    return sigma_max * (1 - np.arange(check_steps(steps) + 1) / steps)


def power_grid(steps: int, sigma_max: float, sigma_min: float, rho: float = RHO) -> np.ndarray:
    """EDM's grid: `steps` sigmas even in sigma^(1/rho) from sigma_max to sigma_min, then 0 (arXiv 2206.00364)."""
    check_sigma_range(sigma_max, sigma_min)
    u = np.linspace(0, 1, check_steps(steps))
    return np.append((sigma_max ** (1 / rho) * (1 - u) + sigma_min ** (1 / rho) * u) ** rho, 0.0)


def geometric_grid(steps: int, sigma_max: float, sigma_min: float) -> np.ndarray:
    """`steps` sigmas even in log sigma from sigma_max to sigma_min, then 0: "exponential", and DPM-Solver's choice."""
    check_sigma_range(sigma_max, sigma_min)
    return np.append(np.geomspace(sigma_max, sigma_min, check_steps(steps)), 0.0)


def edm_clock(sigma_max: float, sigma_min: float, nodes: int) -> np.ndarray:
    """Where learning starts: EDM's rho = 7 grid, shifted by sigma_min so that it reaches 0; (nodes + 1,) of p."""
    offset = sigma_min / sigma_max
    top, bottom = (1 + offset) ** (1 / RHO), offset ** (1 / RHO)
    u = np.linspace(0, 1, nodes + 1)
    position = 1 + offset - (top * (1 - u) + bottom * u) ** RHO
    position[0], position[-1] = 0.0, 1.0
    return position


def hats(values: np.ndarray, count: int) -> np.ndarray:
    """Piecewise-linear basis on [0, 1]: (E,) -> (E, count), each row sums to 1."""
    place = np.clip(values, 0.0, 1.0) * (count - 1)
    return np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(count)))
