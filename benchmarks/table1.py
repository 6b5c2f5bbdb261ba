"""Table 1 of the paper: exact W2 of Euler's method on N(0, 1) with T = 3; `python -m benchmarks table1`."""

import argparse
import datetime
import platform

import numpy as np
import torch

from art_nodes.core import TrainConfig, learn_schedule, optimal_schedule, record_orbits
from art_nodes.core.exact import gaussian
from art_nodes.core.grids import geometric_grid, uniform_grid

STEPS = (2, 5, 10, 20, 50, 100)
HORIZON = 3.0
SIGMA_MIN = 1e-4  # of the DPM grid
PAPER = {
    "Uniform": (0.468, 0.215, 0.114, 0.060, 0.027, 0.016),
    "DPM": (0.670, 0.401, 0.211, 0.113, 0.049, 0.027),
    "EDM": (0.664, 0.319, 0.177, 0.094, 0.041, 0.023),
    "ART-RL": (0.345, 0.149, 0.079, 0.042, 0.020, 0.013),
}
# Gauss-Hermite nodes: integrals over the quantiles of a normal distribution, exact for polynomials.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def euler_w2(sigmas: np.ndarray) -> float:
    """W2 between N(0, 1) and what Euler's method makes of N(0, 1 + T^2) on a grid (K + 1,) that ends at 0.

    Each step maps quantiles to quantiles (it is monotone in x), so W2^2 is the mean squared
    distance of equal quantiles.
    """
    x = np.sqrt(1 + sigmas[0] ** 2) * NODES
    for here, there in zip(sigmas[:-1], sigmas[1:], strict=True):
        denoised = x / (1 + here**2)
        x = denoised + there / here * (x - denoised)
    return float(np.sqrt((WEIGHTS * (x - NODES) ** 2).sum()))


def baselines(steps: int) -> dict[str, np.ndarray]:
    """The paper's three baselines, each of K steps: DPM's ends at sigma_min, the others at 0."""
    return {
        "Uniform": uniform_grid(steps, HORIZON),
        "DPM": geometric_grid(steps + 1, HORIZON, SIGMA_MIN)[:-1],
        "EDM": HORIZON * (1 - np.arange(steps + 1) / steps) ** 7,  # rho = 7 with sigma_min -> 0
    }


def record(orbits: int, seed: int):
    """An orbit bank of the exact score model."""
    noise = torch.randn(orbits, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return record_orbits(gaussian(), noise * np.sqrt(1 + HORIZON**2), HORIZON, 0.002)


def rows(seed: int = 0) -> dict[str, list[float]]:
    """Name -> W2 at each of STEPS, for the baselines, ART-RL and the closed form."""
    bank = record(orbits=64, seed=seed)
    learned, closed = learn_schedule(bank, TrainConfig(seed=seed)), optimal_schedule(bank)
    table: dict[str, list[float]] = {}
    for steps in STEPS:
        grids = {**baselines(steps), "ART-RL": learned.sigmas(steps).numpy(),
                 "closed form": closed.sigmas(steps).numpy()}
        for name, grid in grids.items():
            table.setdefault(name, []).append(euler_w2(grid))
    return table


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks table1", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args(argv).seed
    print(f"Exact W2, Euler on N(0, 1), T = {HORIZON:g}, seed {seed}; {datetime.date.today()}, {platform.machine()}")
    print(f"{'K':24s}" + "".join(f"{steps:>8d}" for steps in STEPS))
    for name, values in rows(seed).items():
        print(f"{name:24s}" + "".join(f"{value:8.3f}" for value in values))
        if name in PAPER:
            print(f"{'  paper':24s}" + "".join(f"{value:8.3f}" for value in PAPER[name]))


if __name__ == "__main__":
    main()
