"""Solvers of dx/dsigma = (x - D)/sigma for the paper's tables, and what a number of steps costs with each."""

import torch

from art_nodes.core.checks import check_denoised
from art_nodes.core.compare import SOLVERS as CORE_SOLVERS
from art_nodes.core.compare import Solver
from art_nodes.core.exact import Denoiser


def rk4(denoiser: Denoiser, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """The classic fourth-order method in sigma, with an Euler step to sigma = 0; four calls a step but the last.

    x (B, ...) starts at sigmas[0]; sigmas are descending and may end at 0, where the model is never asked.
    """
    def slope(state, sigma):
        denoised = denoiser(state, state.new_full((len(state),), sigma, dtype=torch.float32))
        return (state - check_denoised(denoised, state, sigma)) / sigma

    for here, there in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        step, middle = there - here, (here + there) / 2
        first = slope(x, here)
        if there == 0:
            x = x + step * first
            continue
        second = slope(x + step / 2 * first, middle)
        third = slope(x + step / 2 * second, middle)
        fourth = slope(x + step * third, there)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x


SOLVERS: dict[str, Solver] = {"rk4": rk4, "heun": CORE_SOLVERS["heun"], "euler": CORE_SOLVERS["euler"]}
CALLS_PER_STEP = {"rk4": 4, "heun": 2, "euler": 1}  # the last step costs one with each


def model_calls(solver: str, steps: int) -> int:
    """NFE: model calls a sample of `steps` steps to sigma = 0."""
    return CALLS_PER_STEP[solver] * (steps - 1) + 1


def steps_of(solver: str, calls: int) -> int:
    """The number of steps that costs exactly `calls`; ValueError where there is none."""
    steps, rest = divmod(calls - 1, CALLS_PER_STEP[solver])
    if rest or steps < 0:
        raise ValueError(f"{solver} takes {CALLS_PER_STEP[solver]} calls a step and one for the last; got {calls}; "
                         f"{model_calls(solver, steps + 1)} or {model_calls(solver, steps + 2)} would do")
    return steps + 1
