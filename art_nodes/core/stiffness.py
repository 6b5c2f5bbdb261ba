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
# Of ln|Q| below the lowest secant that stands out of the noise.
MAX_EXTRAPOLATION = 0.3


def doubled(values: torch.Tensor) -> torch.Tensor:
    """In float64: where they are, or on the CPU for Apple's devices, which have none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def rms(values: torch.Tensor) -> torch.Tensor:
    """Root mean square over all but the first dimension; (B, ...) -> (B,)."""
    return doubled(values.flatten(1)).square().mean(dim=1).sqrt()


def rounding_step(denoised: torch.Tensor) -> torch.Tensor | None:
    """Spacing of representable numbers around each value of a half-precision answer; None for true float32.

    A rounded constant cannot reveal its rounding by repetition, so the grid of bfloat16
    or float16 numbers is recognised instead.
    """
    values = denoised.float()
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(values.to(dtype).float(), values):
            return torch.finfo(dtype).eps * torch.exp2(torch.floor(torch.log2(values.abs().clamp_min(1e-30))))
    return None


def rounding_noise(denoised: torch.Tensor) -> float:
    """RMS noise in values rounded to half precision and dithered by one step (see `record_orbits`); else 0."""
    step = rounding_step(denoised)
    return 0.0 if step is None else float((step.double() ** 2).mean().sqrt() / 6**0.5)


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


def secants(sigmas: np.ndarray, denoised: torch.Tensor) -> tuple[np.ndarray, np.ndarray, bool]:
    """|Q| between kept nodes: centres (S,), values (S, B), and whether the lowest secant had to be widened."""
    floor = noise_floor(sigmas, denoised)
    kept = secant_nodes(denoised, floor)
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
    return np.array(centres), q, kept[-2] < len(sigmas) - 2


def stiffness_cells(sigmas: np.ndarray, denoised: torch.Tensor) -> np.ndarray:
    """|Q| on the cells between nodes, and on the cell below the last node; -> (B, N).

    `sigmas` (N,) descending and > 0, `denoised` (N, B, E). Cell i spans
    [sigma_{i+1}, sigma_i]; cell N-1 spans [0, sigma_{N-1}], where |Q| is held at
    its neighbour's value because D must not be called at 0. First order in the node
    spacing. In half precision secants are widened until D's change is well above its
    noise floor; ln|Q| is interpolated between them, and below the lowest carried on in a straight line.
    """
    centres, q, widened = secants(sigmas, denoised)
    log_q = np.log(q)
    fine = 0.5 * (sigmas[:-1] + sigmas[1:])
    # Logarithmic in sigma above the second lowest secant, linear below: |Q| is smooth in sigma at 0.
    bend = centres[-2] if widened and len(centres) > 1 else 0.0
    if bend:
        slope = (log_q[-1] - log_q[-2]).mean() / (centres[-2] - centres[-1])
        rise = np.clip(slope * centres[-1], -MAX_EXTRAPOLATION, MAX_EXTRAPOLATION)
        centres, log_q = np.append(centres, 0.0), np.concatenate([log_q, log_q[-1:] + rise])
    at = np.log(centres + bend)[::-1]
    columns = [np.interp(np.log(fine + bend), at, log_q[::-1, b]) for b in range(log_q.shape[1])]
    cells = np.exp(np.stack(columns))  # (B, N - 1)
    return np.concatenate([cells, cells[:, -1:]], axis=1)
