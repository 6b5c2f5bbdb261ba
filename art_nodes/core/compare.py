"""End error of step grids against a fine reference: same noise, same model, counted model calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from .checks import check_denoised, check_nodes, check_noise, check_scale, check_sigma_range, check_step_grid
from .clock import STARTS_ALIKE
from .exact import Denoiser, ask
from .grids import power_grid
from .record import flow_recording_grid
from .stiffness import rms

LEAST_ASKED = 0.01  # sigma down to which a reference goes: the rest is a straight line, on data of spread 1
# solver(denoiser, x, sigmas) -> the sample at sigmas[-1]; x (B, ...) starts at sigmas[0]
Solver = Callable[[Denoiser, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Row:
    """One grid in the table: RMS errors per sample, summed up."""

    name: str
    steps: int
    calls: int  # model calls per sample
    rms: float  # root mean square over all samples
    median: float  # of the samples' own RMS errors
    errors: torch.Tensor  # (B,) float64 on the CPU, for paired statistics


def euler(denoiser: Denoiser, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Euler's method on dx/dsigma = (x - D)/sigma; one call a step."""
    for here, there in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        denoised = check_denoised(denoiser(x, x.new_full((len(x),), here, dtype=torch.float32)), x, here)
        x = denoised + (there / here) * (x - denoised)
    return x


def heun(denoiser: Denoiser, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Heun's method, with an Euler step to sigma = 0; two calls a step but the last."""
    for here, there in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        slope = (x - check_denoised(denoiser(x, x.new_full((len(x),), here, dtype=torch.float32)), x, here)) / here
        moved = x + (there - here) * slope
        if there > 0:
            again = denoiser(moved, x.new_full((len(x),), there, dtype=torch.float32))
            slope = 0.5 * (slope + (moved - check_denoised(again, x, there)) / there)
            moved = x + (there - here) * slope
        x = moved
    return x


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun}


def start_states(noise: torch.Tensor) -> torch.Tensor:
    """Noise (B, ...) in a precision whose rounding is no part of a sampler's error: float32, or float64 if it is."""
    return check_noise(noise) if noise.dtype == torch.float64 else check_noise(noise).float()


def find_solver(solver: str | Solver) -> Solver:
    """The solver of a name, or the function itself; ValueError lists the names."""
    if callable(solver):
        return solver
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise ValueError(f"solver must be one of {sorted(SOLVERS)} or a function; got {solver!r}; pass a function of "
                         "denoiser, x and sigmas, such as one around a sampler of k-diffusion's (docs/python.md)")
    return SOLVERS[solver]


@torch.no_grad()
def compare(
    denoiser: Denoiser,
    noise: torch.Tensor,
    grids: Mapping[str, torch.Tensor],
    solver: str | Solver = "euler",
    reference_nodes: int = 256,
    sigma_min: float | None = None,
    share: bool = False,
) -> list[Row]:
    """Error of each grid at sigma = 0 against a fine Heun solution from the same noise; best first, NaN last.

    noise: (B, ...) start states, already scaled by the first sigma, which all grids must share; sampled from in
        float32, or float64 if it is.
    grids: name -> (K + 1,) descending sigmas ending at 0: tensors, arrays or lists.
    sigma_min: the least sigma that the reference asks the model at, as the model's own; by default half the least one
        of the grids, a thousandth of the first or 0.01, whichever is least. Of data whose spread is not well above
        that pass a smaller one: from there to 0 the reference is a straight line.
    share: whether sigma is a rectified flow's share of noise, as in `record_orbits`: its composition lies in shares
        near 1, where a reference for added noise has hardly a node and may be worse than what it judges.
    Raises ValueError for no grid, one that does not fall to 0, grids that start at different sigmas, noise that is
    not scaled by that, a sigma_min that is not below them, an unknown solver, fewer than 8 reference_nodes, or a
    share of noise above 1.
    """
    noise = start_states(noise)
    run, reference_nodes = find_solver(solver), check_nodes(reference_nodes, "reference_nodes", 256)
    if not isinstance(grids, Mapping) or not grids:
        raise ValueError("grids must hold at least one grid, by name; got "
                         f"{'none' if isinstance(grids, Mapping) else type(grids).__name__}; "
                         "write {'mine': schedule.sigmas(10)}")
    starts = {name: check_step_grid(sigmas, f"grid {name!r}")[0] for name, sigmas in grids.items()}
    grids = {name: sigmas if isinstance(sigmas, torch.Tensor) else torch.as_tensor(np.array(sigmas))
             for name, sigmas in grids.items()}
    top = max(starts.values())
    if any(abs(start / top - 1) > STARTS_ALIKE for start in starts.values()):
        raise ValueError(f"grids to compare must start at the same sigma; got {starts}; pass sigma_max to .sigmas(...)")
    check_scale(noise, top)
    smallest = min(float(sigmas[-2]) for sigmas in grids.values())
    least = min(0.5 * smallest, 1e-3 * top, LEAST_ASKED) if sigma_min is None else check_sigma_range(top, sigma_min)[1]
    fine = np.append(flow_recording_grid(top, least, reference_nodes), 0.0) if share else \
        power_grid(reference_nodes, top, least)
    reference = heun(Counted(denoiser), noise, torch.from_numpy(fine))
    rows = []
    for name, sigmas in grids.items():
        counted = Counted(denoiser)
        errors = rms(run(counted, noise.clone(), sigmas.clone()) - reference)
        total = float(errors.square().mean().sqrt())
        rows.append(Row(name, len(sigmas) - 1, counted.calls, total, float(np.median(errors.numpy())), errors))
    return sorted(rows, key=lambda row: (np.isnan(row.rms), row.rms))


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self, denoiser: Denoiser):
        self.denoiser, self.calls = denoiser, 0

    def __call__(self, x, sigma):
        self.calls += 1
        return ask(self.denoiser, x, sigma)
