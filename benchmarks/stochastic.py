"""What a clock is worth to samplers that add noise, exactly; `python -m benchmarks stochastic`.

Such samplers leave every recorded orbit, so nothing can be replayed and there is no end error. But on a
Gaussian every step is linear and the distribution that comes out is known: its 2-Wasserstein
distance to the data is an error without samples, and the grid with the least of it can be found.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from art_nodes.core import optimal_schedule
from art_nodes.core.exact import power_spectrum
from art_nodes.core.objectives import SamplerError
from art_nodes.core.refine import best_grid, descend
from benchmarks.machine import this_machine
from benchmarks.matched_cells import PLACES, Stage, host_grids
from benchmarks.pages import AS_TAKEN, as_markdown, as_text, write_page
from benchmarks.targets import EXACT

TARGET = EXACT[2]
STEPS = (5, 8, 12, 20)
SIZE = 64
PAGE, FOLDER = "stochastic.md", Path("build/stochastic")


def spectrum() -> tuple[np.ndarray, np.ndarray]:
    """Variances of the target's Fourier coefficients and the share of all coefficients that have each, both (M,)."""
    variances = power_spectrum(SIZE).double().numpy()
    weights = np.full_like(variances, 2.0)
    weights[:, [0, -1]] = 1.0
    values, place = np.unique(variances.round(9), return_inverse=True)
    return values, np.bincount(place.ravel(), weights.ravel()) / SIZE**2


VARIANCES, WEIGHTS = spectrum()


def euler(grids: np.ndarray) -> np.ndarray:
    """Variances (G, M) where Euler's method ends on grids (G, K + 1)."""
    return _run(grids, lambda here, there: (there / here, 0.0))


def euler_ancestral(grids: np.ndarray) -> np.ndarray:
    """The same of ancestral Euler with eta 1: a step down to sigma_down, then noise up to the next sigma."""
    return _run(grids, lambda here, there: ((there / here) ** 2, (there**2 * (1 - (there / here) ** 2))))


def _run(grids: np.ndarray, step: Callable) -> np.ndarray:
    """Variances under x <- D + keep (x - D) + noise, with (keep, variance of the noise) of each step."""
    variance = grids[:, :1] ** 2 + VARIANCES
    for here, there in _steps(grids):
        gain, (keep, noise) = VARIANCES / (VARIANCES + here**2), step(here, there)
        variance = (gain + keep * (1 - gain)) ** 2 * variance + noise
    return variance


def dpmpp_2m_sde(grids: np.ndarray) -> np.ndarray:
    """Variances (G, M) where DPM++ 2M SDE (eta 1, midpoint) ends; x and the last prediction are jointly Gaussian."""
    variance = grids[:, :1] ** 2 + VARIANCES
    both, old, last = np.zeros_like(variance), np.zeros_like(variance), None  # cov(x, D_old), var(D_old), last step
    for here, there in _steps(grids):
        gain = VARIANCES / (VARIANCES + here**2)
        if not there.any():
            return gain**2 * variance
        length = np.log(here / there)
        covered, lead = 1 - np.exp(-2 * length), 0.0 if last is None else 0.5 * length / last
        of_x = (there / here) ** 2 + covered * (1 + lead) * gain
        of_old = -covered * lead
        noise = there**2 * (1 - (there / here) ** 2)
        both, old, variance = (gain * (of_x * variance + of_old * both), gain**2 * variance,
                               of_x**2 * variance + 2 * of_x * of_old * both + of_old**2 * old + noise)
        last = length
    raise ValueError(f"grids must end at 0; got {grids[:, -1]}; append it")


def _steps(grids: np.ndarray):
    """Pairs of columns (G, 1), here and there."""
    return zip(grids.T[:-1, :, None], grids.T[1:, :, None], strict=True)


SAMPLERS = {"euler": euler, "euler_ancestral": euler_ancestral, "dpmpp_2m_sde": dpmpp_2m_sde}


def distance(variances: np.ndarray) -> np.ndarray:
    """2-Wasserstein distance per pixel of what came out, variances (G, M), to the data; (G,)."""
    return np.sqrt((WEIGHTS * (np.sqrt(variances) - np.sqrt(VARIANCES)) ** 2).sum(axis=1))


def built_in(stage: Stage, steps: int) -> dict[str, np.ndarray]:
    """The host's schedules on the SDXL noise table."""
    found = host_grids(stage.model, "euler_ancestral", steps, TARGET.sigma_max)
    # Some start short of the model's range, and so from less noise than there is.
    return {name: grid.double().numpy() for name, grid in found.items()
            if abs(float(grid[0]) / TARGET.sigma_max - 1) < 1e-3}


def ours(bank, steps: int) -> dict[str, np.ndarray]:
    """Clock and grids from a recording of the target."""
    grids = {"ART euler": optimal_schedule(bank).sigmas(steps).double().numpy()}
    for sampler in ("euler", "dpmpp_2m"):
        grids[f"ART end:{sampler}"] = best_grid(SamplerError(bank, f"end:{sampler}"), steps)
    return grids


def table(sampler: str, columns: dict[int, dict[str, np.ndarray]]) -> list[list[str]]:
    """Rows are schedules: a thousand times their distance to the data by steps; last the least that descent finds."""
    error, cells = (lambda grids: distance(SAMPLERS[sampler](grids))), {}
    for steps, grids in columns.items():
        every = np.stack([grid for grid in grids.values()])
        every[:, 0] = TARGET.sigma_max
        values = error(every)
        least = error(descend(error, every[values.argsort()[:4]])[None])[0]
        best = values.min()
        cells |= {(name, steps): f"**{1e3 * value:.1f}**" if value == best else f"{1e3 * value:.1f}"
                  for name, value in zip(grids, values, strict=True)}
        cells["least found", steps] = f"{1e3 * least:.1f}"
    names = dict.fromkeys(name for grids in columns.values() for name in grids)
    return [["steps", *map(str, columns)], *([name, *(cells.get((name, steps), "") for steps in columns)]
                                             for name in (*names, "least found"))]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks stochastic", description=__doc__.splitlines()[0])
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    args = parser.parse_args(argv)
    bank, stage = TARGET.record(0), Stage(PLACES[0])
    columns = {steps: {**ours(bank, steps), **built_in(stage, steps)} for steps in STEPS}
    tables = {sampler: table(sampler, columns) for sampler in SAMPLERS}
    for sampler, rows in tables.items():
        print(f"\n{sampler}\n" + as_text(rows), flush=True)
    write_page(FOLDER / PAGE, page(tables), args.docs)


def page(tables: dict[str, list[list[str]]]) -> list[str]:
    """The whole page, in parts."""
    parts = ["# Samplers that add noise", f"{this_machine()}; `python -m benchmarks stochastic --docs`",
             f"The {SIZE}×{SIZE} Gaussian with an image's spectrum, σ from {TARGET.sigma_max:g}; the host's schedules"
             " on the SDXL noise table, if they start at its top (ddim_uniform does not)."
             f" {AS_TAKEN} 2-Wasserstein distance per pixel between what comes out and the data, computed"
             " exactly, times 1,000; the last row is the least that descent over grids finds. Ours are taken from"
             f" {TARGET.shape[0]} recorded orbits of the deterministic ODE."]
    for sampler, rows in tables.items():
        parts += [f"## {sampler}", as_markdown(rows)]
    return parts


if __name__ == "__main__":
    main()
