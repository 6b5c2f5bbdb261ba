"""End errors of many grids against one reference, and their ratios."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from art_nodes.core.compare import SOLVERS
from art_nodes.core.exact import Denoiser
from art_nodes.core.grids import power_grid
from art_nodes.core.scores import total
from art_nodes.core.stiffness import rms
from benchmarks.transfer_places import CLASSIC, Place

REFERENCE_END = 0.002  # last sigma of the reference above 0
CHEAP_STEPS = 20  # Euler up to here is judged on every batch, all else of a network on the first
Job = tuple[str, str, int]  # solver, clock, steps
Errors = dict[Job, np.ndarray]  # (B,) RMS error of each orbit


def two_step(denoiser: Denoiser, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """DPM-Solver++(2M): second order in log sigma at one call a step, so a fine reference costs half of Heun's.

    A step from a sigma to the same is left out; k-diffusion's makes NaN of the one after it.
    """
    previous, last = None, 1.0
    for here, there in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        denoised = denoiser(x, x.new_full((len(x),), here, dtype=torch.float32))
        if there == 0:
            return denoised
        step = math.log(here / there)
        if step == 0:  # some of the host's schedules take a sigma twice
            continue
        target = denoised if previous is None else denoised + (denoised - previous) * (0.5 * step / last)
        x = there / here * x + (1 - there / here) * target
        previous, last = denoised, step
    return x


def reference(denoiser: Denoiser, noise: torch.Tensor, sigma_max: float, nodes: int) -> torch.Tensor:
    """The end of the orbits of `noise` (B, ...), to well within the errors that are judged."""
    return two_step(denoiser, noise, torch.from_numpy(power_grid(nodes, sigma_max, REFERENCE_END)))


def _judged_on_every_batch(place: Place, job: Job) -> bool:
    solver, _, steps = job
    return not place.network or (solver == "euler" and steps <= CHEAP_STEPS)


@torch.no_grad()
def judge(place: Place, grids: Mapping[Job, torch.Tensor], seed: int) -> Errors:
    """RMS end error of every orbit for every job; seeds of the noise lie far from those of the training."""
    denoiser, errors = place.judged.make(), {}
    for batch in range(place.batches):
        noise = place.judged.noise(1000 + 100 * seed + batch)
        truth = reference(denoiser, noise, place.target.sigma_max, place.reference_nodes)
        for job, grid in grids.items():
            if batch == 0 or _judged_on_every_batch(place, job):
                end = SOLVERS[job[0]](denoiser, noise, torch.as_tensor(grid))
                errors.setdefault(job, []).append(rms(end - truth).double().numpy())
    return {job: np.concatenate(parts) for job, parts in errors.items()}


@torch.no_grad()
def reference_error(place: Place, nodes: int = 256) -> float:
    """RMS distance of the reference to Heun's solution on a finer grid, over one batch."""
    denoiser, noise = place.judged.make(), place.judged.noise(999)
    grid = torch.from_numpy(power_grid(nodes, place.target.sigma_max, REFERENCE_END / 2))
    fine = SOLVERS["heun"](denoiser, noise, grid)
    return total(rms(reference(denoiser, noise, place.target.sigma_max, place.reference_nodes) - fine).numpy())


def ratios(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> np.ndarray:
    """Ratio of the RMS errors seed by seed, (seeds,)."""
    return np.array([total(a) / total(b) for a, b in zip(ours, theirs, strict=True)])


def strongest(errors: Mapping[Job, Sequence[np.ndarray]], solver: str, steps: int) -> str:
    """The classic grid with the least error over all seeds; chosen after the fact, which favours it."""
    return min(CLASSIC, key=lambda name: total(np.concatenate(errors[solver, name, steps])))
