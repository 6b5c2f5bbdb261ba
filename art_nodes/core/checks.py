"""Errors that name the rule, the value that broke it, and the way out."""

import math

import numpy as np
import torch

MIN_NODES = 8
# RMS of a start state against its sigma below which it is not scaled by that. Of few elements chance may make it small.
LEAST_SCALE, ELEMENTS_TO_TELL = 0.25, 64


class ScheduleFileError(ValueError):
    """A schedule or bank file that is damaged, foreign or unsafe; the message names the file."""


def is_number(value) -> bool:
    """Whether it is a real number, Python's or numpy's; True and False are none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def check_steps(steps: int) -> int:
    """Return `steps` as an int >= 1, or raise ValueError."""
    if not is_number(steps) or not steps >= 1 or steps % 1:
        raise ValueError(f"steps must be a whole number >= 1; got {steps!r}; ask for at least one sampling step")
    return int(steps)


def _item(value):
    """The number in a tensor or array of one element; anything else as it is."""
    return value.item() if isinstance(value, (torch.Tensor, np.ndarray)) and math.prod(value.shape) == 1 else value


def check_sigma_range(sigma_max: float, sigma_min: float) -> tuple[float, float]:
    """Return the range as floats with 0 < sigma_min < sigma_max < inf, or raise ValueError."""
    high, low = (float(sigma) if is_number(sigma) else sigma for sigma in map(_item, (sigma_max, sigma_min)))
    if not (is_number(high) and is_number(low) and math.isfinite(high) and math.isfinite(low) and 0 < low < high):
        raise ValueError(
            f"sigmas must be finite and 0 < sigma_min < sigma_max; got sigma_max={high}, sigma_min={low}; "
            "pass the range the model was trained on, for SDXL 14.6146 and 0.0292"
        )
    return high, low


def check_nodes(nodes: int, name: str = "nodes", good: int = 64) -> int:
    """Return a number of nodes as an int >= 8, or raise ValueError, which calls it `name` and proposes `good`."""
    if not is_number(nodes) or not nodes >= MIN_NODES or nodes % 1:
        raise ValueError(f"{name} must be a whole number >= {MIN_NODES}; got {nodes!r}; {good} is a good choice")
    return int(nodes)


def check_grid(sigmas, sigma_max: float, sigma_min: float) -> np.ndarray:
    """Return recording nodes (N,) that fall strictly from sigma_max to sigma_min, or raise ValueError."""
    grid = np.array(sigmas, dtype=np.float64)
    if grid.ndim != 1 or len(grid) < MIN_NODES or not np.isfinite(grid).all() or not (np.diff(grid) < 0).all():
        raise ValueError(
            f"sigmas must be at least {MIN_NODES} finite, strictly descending nodes; got {grid.tolist()[:12]}; "
            "leave them out to record on a standard grid"
        )
    if not np.allclose([grid[0], grid[-1]], [sigma_max, sigma_min], rtol=1e-4):
        raise ValueError(
            f"sigmas must run from sigma_max={sigma_max:g} to sigma_min={sigma_min:g}; "
            f"got {grid[0]:g} to {grid[-1]:g}; pass the ends of the nodes as the range"
        )
    return grid


def check_step_grid(sigmas, name: str = "a grid") -> np.ndarray:
    """Return the sigmas (K + 1,) of K steps as float64 that fall from above 0 to exactly 0, or raise ValueError.

    Equal ones may follow each other, as some of the host's schedulers make them.
    """
    values = sigmas.detach().cpu().double().numpy() if isinstance(sigmas, torch.Tensor) else sigmas
    try:
        grid = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be sigmas; got {type(values).__name__}; of a schedule take what .sigmas(steps) "
                         "gives") from None
    if grid.ndim != 1 or len(grid) < 2 or not np.isfinite(grid).all() or grid[-1] != 0 or not (grid[:-1] > 0).all() \
            or not (np.diff(grid) <= 0).all():
        raise ValueError(f"{name} must be two or more finite sigmas that fall to exactly 0; got {grid.tolist()[:12]}; "
                         "append the final 0, or take what .sigmas(steps) gives")
    return grid


def check_start(sigma: float) -> float:
    """Return the sigma at which a model starts sampling as a float, finite and > 0, or raise ValueError."""
    sigma = _item(sigma)
    if not (is_number(sigma) and math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma_max must be finite and > 0; got {sigma!r}; pass the model's largest or leave it out")
    return float(sigma)


def check_denoised(denoised, x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return what a denoiser answered, or raise ValueError if it is no prediction of x0 for `x` (B, ...)."""
    if not isinstance(denoised, torch.Tensor) or denoised.shape != x.shape:
        got = tuple(denoised.shape) if isinstance(denoised, torch.Tensor) else type(denoised).__name__
        raise ValueError(
            f"a denoiser must answer a tensor of its input's shape {tuple(x.shape)}; got {got}; "
            "return x0, one value for each element of x"
        )
    if denoised.device != x.device:
        raise ValueError(f"a denoiser must answer on its input's device, {x.device}; got {denoised.device}; "
                         "return x0.to(x.device), or record from noise on the device of the model")
    if not torch.isfinite(denoised).all():
        raise ValueError(
            f"a denoiser must answer finite values; got NaN or infinity at sigma={sigma:.6g}; "
            "try another precision (fp32 or bf16) or a smaller cfg"
        )
    return denoised


def check_noise(noise) -> torch.Tensor:
    """Return the start states (B, ...) if there is at least one and all are finite, or raise ValueError."""
    if not isinstance(noise, torch.Tensor):
        raise ValueError(f"noise must be a torch tensor (batch, ...); got {type(noise).__name__}; "
                         "pass torch.from_numpy(...)")
    if noise.ndim < 2 or noise.shape[0] < 1 or noise[0].numel() < 1:
        raise ValueError("noise must be a tensor (batch, ...) of one sample or more; got "
                         f"{tuple(noise.shape)}; write noise[None] for one sample, noise[:, None] for samples of one "
                         "number")
    if not torch.isfinite(noise).all():
        raise ValueError("noise must be finite; got NaN or infinity; draw it afresh and scale it by sigma_max")
    return noise


def check_scale(noise: torch.Tensor, sigma_max: float) -> None:
    """ValueError for start states that hold far less noise than a model is told of at sigma_max."""
    scale = float(noise.cpu().double().square().mean().sqrt())
    if noise.numel() >= ELEMENTS_TO_TELL and scale < LEAST_SCALE * sigma_max:
        raise ValueError(f"noise must be scaled by the first sigma, here {sigma_max:g}; got an RMS of {scale:.3g}; "
                         "pass sigma_max * noise (for a rectified flow unit noise, with sigma_max 1 and share=True)")
