"""Stiffness |Q| along recorded orbits, from secants of the denoised prediction.

Along an orbit |Q| = |dD/dsigma| / sigma (docs/theory.md, eq. 5), so consecutive
predictions are all that is needed. Norms are root mean squares over the elements
of a sample, which makes |Q| independent of resolution.
"""

import numpy as np
import torch

from .half import recognised

# A secant counts as signal where the change in D is this many times its noise: one that is estimated from the
# predictions themselves, and one that is known (half.py), whose square can be taken off more closely.
SIGNAL_TO_NOISE, OF_KNOWN_NOISE = 5.0, 3.0
# |Q| is kept above this share of its mean over the orbit, which small sigmas rule: far above all data, at the top of a
# range of thousands, it truly is 1e-12 of that.
RELATIVE_FLOOR = 1e-14
# Of ln|Q| below the lowest secant that stands out of the noise.
MAX_EXTRAPOLATION = 0.3
# d ln|Q| / d ln sigma where sigma is far above all data, D = x0 sqrt(v / (v + sigma^2)): |Q| falls no faster.
STEEPEST = -3.0


def as_float64(values: torch.Tensor) -> torch.Tensor:
    """In float64, on the CPU: Apple's GPUs and some of Intel's have none."""
    return values.cpu().double()


def rms(values: torch.Tensor) -> torch.Tensor:
    """Root mean square over all but the first dimension; (B, ...) -> (B,) float64 on the CPU."""
    return as_float64(values.flatten(1)).square().mean(dim=1).sqrt()


def noise_floor(sigmas: np.ndarray, denoised: torch.Tensor, rounding: np.ndarray) -> np.ndarray:
    """RMS noise of D at each node, pooled over samples; (N, B, E) and squares (N,) of rounding's share -> (N,).

    Measured as the departure of each prediction from the line through its two
    neighbours. True curvature is in that number too; it fades towards small
    sigma, hence the running minimum taken from the small end.
    """
    log_sigma = np.log(sigmas)
    left = (log_sigma[1:-1] - log_sigma[2:]) / (log_sigma[:-2] - log_sigma[2:])
    measured = np.zeros(len(sigmas))
    for i, weight in enumerate(left, start=1):
        line = weight * denoised[i - 1] + (1 - weight) * denoised[i + 1]
        spread = 1 + weight**2 + (1 - weight) ** 2
        measured[i] = float((denoised[i] - line).double().square().mean().sqrt()) / spread**0.5
    measured[0], measured[-1] = measured[1], measured[-2]
    smallest = np.minimum.accumulate(measured[::-1])[::-1]
    return np.maximum(smallest, np.sqrt(rounding))


def secant_nodes(denoised: torch.Tensor, floor: np.ndarray, least: float) -> list[int]:
    """Indices of the nodes between which D changes by `least` times its noise, first and last included.

    Grown from the small-sigma end, where rounding is worst.
    """
    last = len(denoised) - 1
    kept = [last]
    for i in range(last - 1, -1, -1):
        change = float((denoised[i] - denoised[kept[-1]]).double().square().mean().sqrt())
        noise = float(np.hypot(floor[i], floor[kept[-1]]))
        if change > least * noise:
            kept.append(i)
    if kept[-1] != 0:  # what is left over at the top joins the last good secant
        kept[-1 if len(kept) > 1 else len(kept):] = [0]
    return kept[::-1]


def secants(sigmas: np.ndarray, denoised: torch.Tensor, rounding: np.ndarray) -> tuple[np.ndarray, np.ndarray, list]:
    """|Q| between the nodes that are kept: centres (S,), values (S, B), and the indices of these nodes (S + 1,)."""
    floor = noise_floor(sigmas, denoised, rounding)
    kept = secant_nodes(denoised, floor, OF_KNOWN_NOISE if rounding.any() else SIGNAL_TO_NOISE)
    centres, values = [], []
    for i, j in zip(kept[:-1], kept[1:], strict=True):
        change2 = (denoised[i] - denoised[j]).double().square().mean(dim=1).numpy()
        noise2 = floor[i] ** 2 + floor[j] ** 2
        change = np.sqrt(np.maximum(change2 - noise2, 0.1 * change2))
        # |Q| = |dD/dsigma|/sigma, taken as constant in the cell: near 0, where secants get wide, it nearly is
        centres.append(0.5 * (sigmas[i] + sigmas[j]))
        values.append(change / (centres[-1] * (sigmas[i] - sigmas[j])))
    q = np.maximum(np.stack(values), 1e-300)
    q = np.maximum(q, RELATIVE_FLOOR * q.mean(axis=0, keepdims=True))
    return np.array(centres), q, kept


def stiffness_cells(sigmas: np.ndarray, denoised: torch.Tensor, rounding: np.ndarray | None = None) -> np.ndarray:
    """|Q| on the cells between nodes, and on the cell below the last node; -> (B, N).

    `sigmas` (N,) descending and > 0, `denoised` (N, B, E), `rounding` (N,) squares of the noise of half precision in
    them, None for what their numbers tell. Cell i spans [sigma_{i+1}, sigma_i]; cell N-1 spans [0, sigma_{N-1}], where
    |Q| is held at its neighbour's value because D must not be called at 0. First order in the node spacing. In half
    precision secants are widened until D's change is well above its noise floor; ln|Q| is interpolated between them,
    and carried on in a straight line below the lowest, as a power of sigma above the highest.
    """
    centres, q, kept = secants(sigmas, denoised, recognised(denoised) if rounding is None else rounding)
    log_q = np.log(q)
    fine = 0.5 * (sigmas[:-1] + sigmas[1:])
    # Logarithmic in sigma above the second lowest secant, linear below: |Q| is smooth in sigma at 0.
    widened = kept[-2] < len(sigmas) - 2
    bend = centres[-2] if widened and len(centres) > 1 else 0.0
    if bend:
        slope = (log_q[-1] - log_q[-2]).mean() / (centres[-2] - centres[-1])
        rise = np.clip(slope * centres[-1], -MAX_EXTRAPOLATION, MAX_EXTRAPOLATION)
        centres, log_q = np.append(centres, 0.0), np.concatenate([log_q, log_q[-1:] + rise])
    if kept[1] > 1 and len(q) > 1:
        power = np.clip((log_q[0] - log_q[1]).mean() / np.log(centres[0] / centres[1]), STEEPEST, 0.0)
        top = log_q[:1] + power * np.log(sigmas[0] / centres[0])
        centres, log_q = np.append(sigmas[0], centres), np.concatenate([top, log_q])
    at = np.log(centres + bend)[::-1]
    columns = [np.interp(np.log(fine + bend), at, log_q[::-1, b]) for b in range(log_q.shape[1])]
    cells = np.exp(np.stack(columns))  # (B, N - 1)
    return np.concatenate([cells, cells[:, -1:]], axis=1)
