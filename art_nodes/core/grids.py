"""Classic step grids, the baselines that papers compare with; each is (steps + 1,) float64, descending to 0."""

import numpy as np

from .checks import check_sigma_range, check_steps


def uniform_grid(steps: int, sigma_max: float) -> np.ndarray:
    """Equal steps in sigma."""
    return sigma_max * (1 - np.arange(check_steps(steps) + 1) / steps)


def power_grid(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> np.ndarray:
    """EDM's grid: `steps` sigmas even in sigma^(1/rho) from sigma_max to sigma_min, then 0 (arXiv 2206.00364)."""
    check_sigma_range(sigma_max, sigma_min)
    u = np.linspace(0, 1, check_steps(steps))
    return np.append((sigma_max ** (1 / rho) * (1 - u) + sigma_min ** (1 / rho) * u) ** rho, 0.0)


def geometric_grid(steps: int, sigma_max: float, sigma_min: float) -> np.ndarray:
    """`steps` sigmas even in log sigma from sigma_max to sigma_min, then 0: "exponential", and DPM-Solver's choice."""
    check_sigma_range(sigma_max, sigma_min)
    return np.append(np.geomspace(sigma_max, sigma_min, check_steps(steps)), 0.0)
