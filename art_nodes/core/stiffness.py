"""Stiffness |Q| along recorded orbits, from secants of the denoised prediction.

Along an orbit |Q| = |dD/dsigma| / sigma (docs/theory.md, eq. 5), so consecutive
predictions are all that is needed. Norms are root mean squares over the elements
of a sample, which makes |Q| independent of resolution.
"""

import numpy as np
import torch

# A secant counts as signal where the change in D is this many times what
# rounding alone would produce; 5 leaves a bias of at most 1/50 in |Q|.
SIGNAL_TO_NOISE = 5.0
# |Q| is kept above this share of its mean over the orbit: below it, the optimal
# speed |Q|^(-1/2) would be set by noise.
RELATIVE_FLOOR = 1e-8


def rms(values: torch.Tensor) -> torch.Tensor:
    """Root mean square over all but the first dimension; (B, ...) -> (B,)."""
    return values.flatten(1).double().square().mean(dim=1).sqrt()


def rounding_noise(denoised: torch.Tensor) -> float:
    """RMS rounding error of values that were stored in half precision; 0 for true float32 values.

    A rounded constant cannot reveal its rounding by repetition, so the grid of
    representable numbers is recognised instead: error = spacing / sqrt(12).
    """
    values = denoised.float()
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(values.to(dtype).float(), values):
            spacing = torch.finfo(dtype).eps * torch.exp2(torch.floor(torch.log2(values.abs().clamp_min(1e-30))))
            return float((spacing.double() ** 2).mean().sqrt() / 12**0.5)
    return 0.0


def noise_floor(sigmas: np.ndarray, denoised: torch.Tensor) -> np.ndarray:
    """RMS noise of D at each node, pooled over samples; (N, B, E) -> (N,).

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
    rounding = np.array([rounding_noise(values) for values in denoised])
    return np.maximum(smallest, rounding)


def secant_nodes(denoised: torch.Tensor, floor: np.ndarray) -> list[int]:
    """Indices of the nodes between which D changes well beyond its noise, first and last included.

    Grown from the small-sigma end, where rounding is worst.
    """
    last = len(denoised) - 1
    kept = [last]
    for i in range(last - 1, -1, -1):
        change = float((denoised[i] - denoised[kept[-1]]).double().square().mean().sqrt())
        noise = float(np.hypot(floor[i], floor[kept[-1]]))
        if change > SIGNAL_TO_NOISE * noise:
            kept.append(i)
    if kept[-1] != 0:  # what is left over at the top joins the last good secant
        kept[-1 if len(kept) > 1 else len(kept):] = [0]
    return kept[::-1]


def stiffness_cells(sigmas: np.ndarray, denoised: torch.Tensor) -> np.ndarray:
    """|Q| on the cells between nodes, and on the cell below the last node; -> (B, N).

    `sigmas` (N,) descending and > 0, `denoised` (N, B, E). Cell i spans
    [sigma_{i+1}, sigma_i]; cell N-1 spans [0, sigma_{N-1}], where |Q| is held at
    its neighbour's value because D must not be called at 0. First order in the node
    spacing. In half precision secants are widened until D's change is
    well above its noise floor, and |Q| is interpolated between them in log-log.
    """
    floor = noise_floor(sigmas, denoised)
    kept = secant_nodes(denoised, floor)
    centres, values = [], []
    for i, j in zip(kept[:-1], kept[1:], strict=True):
        change2 = ((denoised[i] - denoised[j]).double().square().mean(dim=1)).numpy()
        noise2 = floor[i] ** 2 + floor[j] ** 2
        change = np.sqrt(np.maximum(change2 - noise2, 0.1 * change2))
        # |Q| = |dD/dsigma|/sigma, averaged over the cell for a constant dD/dsigma
        width = sigmas[i] - sigmas[j]
        values.append(change * np.log(sigmas[i] / sigmas[j]) / width**2)
        centres.append(0.5 * np.log(sigmas[i] * sigmas[j]))
    q = np.maximum(np.stack(values), 1e-300)  # (secants, B)
    q = np.maximum(q, RELATIVE_FLOOR * q.mean(axis=0, keepdims=True))
    fine = 0.5 * np.log(sigmas[:-1] * sigmas[1:])
    order = np.argsort(centres)
    at = np.array(centres)[order]
    log_q = np.log(q)[order]
    columns = [np.interp(fine, at, log_q[:, b]) for b in range(q.shape[1])]
    cells = np.exp(np.stack(columns))  # (B, N - 1)
    return np.concatenate([cells, cells[:, -1:]], axis=1)
