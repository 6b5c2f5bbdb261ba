"""Recording orbits: the ODE followed from noise, one model call a node, and what is kept of it."""

from collections.abc import Callable

import numpy as np
import torch

from .adams import ORDER, adams_weights
from .arrival import added_noise
from .bank import OrbitBank
from .checks import check_denoised, check_grid, check_nodes, check_noise, check_scale, check_sigma_range, is_number
from .exact import Denoiser
from .grids import power_grid
from .half import Rounding
from .spectrum import bands_of, frequency_gain, is_picture, spectrum_of, weigh_frequencies
from .stiffness import stiffness_cells

# Elements of a sample kept for the secants. The norm of a random subset of n elements is unbiased in its square and off
# by about sqrt((kurtosis - 1)/4n): 0.6 % here where elements are Gaussian, about 1 % for the edges of photographs.
MAX_ELEMENTS = 16384
# Noise added, in units of the picture, at the second node of a flow's recording. What is widest in a large picture,
# its mean, spreads by a hundred of them, and shows between pure noise and the first node below 400.
SOON = 2000.0


@torch.no_grad()
def record_orbits(
    denoiser: Denoiser,
    noise: torch.Tensor,
    sigma_max: float,
    sigma_min: float,
    *,
    nodes: int = 64,
    progress: Callable[[int, int], None] | None = None,
    sigmas=None,
    share: bool = False,
    precision: torch.dtype | None = None,
    rounding: np.ndarray | None = None,
    cfg: float | None = None,
) -> OrbitBank:
    """Follow the ODE from `noise` and record |Q|; one model call a node.

    denoiser: D(x, sigma) -> x0. It is given x as float32 on noise's device, whatever noise's dtype is, and sigma
        (B,) float32; a network in half precision is to convert them itself. x0 is to be on that device.
    noise: (B, ...) start states, already scaled by sigma_max.
    progress: called as progress(calls done, calls in all) after each node.
    sigmas: the nodes themselves, descending from sigma_max to sigma_min, instead of a count; for models
        that know only a table of noise levels.
    share: whether sigma is the share of noise of a rectified flow (SD3, Flux), so at most 1; the bank remembers it.
    precision: what the network computes in, if that is bfloat16 or float16 and the answer is put together in float32.
        What rounding adds to D is then measured at 5 of the nodes, with 2 calls each, and taken off.
    rounding: that of another bank, recorded of this model with this precision on these nodes, which saves those calls.
    cfg: how strong the denoiser's guidance is, >= 0, if it is guided: objectives of a sampler make use of it. Kept in
        the bank's metadata.
    The orbit is integrated by the third-order Adams-Bashforth scheme in ln sigma, which
    needs no calls beyond those at the nodes; its error is O(spacing^3), but for the first
    step, of first order, where D hardly changes yet.
    Raises ValueError for a bad range, fewer than 8 nodes, noise that is not scaled, a bad cfg, or a denoiser that
    answers NaN or another shape.
    """
    high, low = check_sigma_range(sigma_max, sigma_min)
    if share and high > 1:
        raise ValueError(f"sigma_max must be 1 or less where sigma is a share of noise; got {high:g}; leave out share "
                         "for models with added noise")
    check_scale(check_noise(noise), high)
    if cfg is not None and not (is_number(cfg) and 0 <= cfg < np.inf):
        raise ValueError(f"cfg must be a finite number >= 0; got {cfg!r}; leave it out where nothing is guided")
    even = flow_recording_grid if share else recording_grid
    grid = even(high, low, check_nodes(nodes)) if sigmas is None else check_grid(sigmas, high, low)
    half = Rounding(len(grid), precision, rounding)
    calls = len(grid) + half.calls(len(grid))
    x, recent, kept = noise.float(), [], _Kept(noise.cpu().float(), len(grid))
    for i, sigma in enumerate(grid):
        batch_sigma = torch.full((len(x),), float(sigma), dtype=torch.float32, device=x.device)
        asked = half.dithered(x)
        # Copies, for a denoiser that changes its input or answers in one buffer again and again.
        denoised = check_denoised(denoiser(asked.clone(), batch_sigma), x, sigma).float().clone()
        seen = denoised.cpu()  # some devices have no FFT, some no bfloat16
        half.look(i, denoiser, asked, batch_sigma, seen)
        kept.add(i + 1, seen)
        if progress is not None:
            progress(i + 1 + half.calls(i + 1), calls)
        if i + 1 < len(grid):
            recent = [denoised, *recent[:ORDER - 1]]
            weights = adams_weights(-np.diff(np.log(grid[i - len(recent) + 1:i + 2]))[::-1])
            target = sum(float(weight) * old for weight, old in zip(weights, recent, strict=True))
            ratio = float(grid[i + 1] / sigma)
            x = ratio * x + (1 - ratio) * target
    rounding = half.noise(grid)
    stiffness = stiffness_cells(grid, kept.rows["gram"][1:], rounding[1:])
    return OrbitBank(grid, stiffness, calls, calls * len(noise), {} if cfg is None else {"cfg": float(cfg)},
                     elements=noise[0].numel(), share=share, ends=denoised.flatten(1).cpu().numpy(),
                     rounding=rounding if rounding.any() else None, **kept.products(rounding))


class _Kept:
    """What is kept of the start states (B, ...) and of N predictions, in each view that a bank has products of."""

    def __init__(self, start: torch.Tensor, nodes: int):
        self.shape, some = tuple(start.shape[1:]), kept_elements(start[0].numel())
        self.bands = bands_of(self.shape, nodes) if is_picture(start) else None
        self.views = {"gram": lambda x: x.flatten(1)[:, some]}
        if is_picture(start):
            self.views["detail"] = lambda x: weigh_frequencies(x).flatten(1)[:, some]
        if self.bands is not None:
            self.views["spectrum"] = self.bands.coefficients
        self.rows = {name: _room(nodes, view(start)) for name, view in self.views.items()}

    def add(self, row: int, denoised: torch.Tensor) -> None:
        """A prediction (B, ...), on the CPU."""
        for name, view in self.views.items():
            self.rows[name][row] = view(denoised)

    def products(self, rounding: np.ndarray) -> dict:
        """The bank's inner products of each view, by its field; each view's rows go before the next is reckoned."""
        gain = frequency_gain(*self.shape[-2:]).square().mean().item() if "detail" in self.rows else 1.0
        reckon = {"gram": lambda rows: _gram(rows, rounding), "detail": lambda rows: _gram(rows, rounding * gain),
                  "spectrum": lambda rows: spectrum_of(rows, self.bands, self.shape, rounding)}
        return {name: reckon[name](self.rows.pop(name)) for name in self.views}


def recording_grid(sigma_max: float, sigma_min: float, nodes: int) -> np.ndarray:
    """(nodes,) descending sigmas, even in sigma^(1/7): fine where images take shape, yet not crowded at 0."""
    grid = power_grid(nodes, sigma_max, sigma_min)[:-1]
    grid[0], grid[-1] = sigma_max, sigma_min
    return grid


def flow_recording_grid(sigma_max: float, sigma_min: float, nodes: int) -> np.ndarray:
    """(nodes,) descending sigmas in (0, 1] for a rectified flow, where sigma is the share of noise.

    Even in the seventh root of sigma / (1 - sigma), the noise added to the picture in units of the picture: all of
    an image's composition lies between a share of 0.9 and 1. From pure noise the first step, of first order, is a tiny
    one. Raises ValueError for a sigma_max above 1.
    """
    if sigma_max > 1:
        raise ValueError(f"sigma_max must be at most 1 for a rectified flow; got {sigma_max:g}; there sigma is the "
                         "share of noise")
    soon = [SOON / (1 + SOON)] if SOON / (1 + SOON) < sigma_max else []
    grid = recording_grid(*added_noise([sigma_max, sigma_min], True), nodes - len(soon))
    grid = grid / (1 + grid)
    return np.concatenate([[sigma_max], soon, grid[1:-1], [sigma_min]])


def kept_elements(count: int) -> torch.Tensor:
    """Indices of the elements that are kept of samples of so many: all, or a fixed random subset of a large sample."""
    if count <= MAX_ELEMENTS:
        return torch.arange(count, device="cpu")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0), device="cpu")
    return order[:MAX_ELEMENTS].sort().values


def _room(nodes: int, start: torch.Tensor) -> torch.Tensor:
    """(N + 1, B, E) with the start state (B, E) and room for N predictions; a stacked list would take twice as much."""
    rows = start.new_empty(nodes + 1, *start.shape)
    rows[0] = start
    return rows


def _gram(vectors: torch.Tensor, rounding: np.ndarray) -> np.ndarray:
    """Inner products per element of the start state and the predictions, (N + 1, B, E); (B, N + 1, N + 1).

    rounding: (N + 1,) squares of half-precision rounding noise, which adds to their own length only and is taken off.
    """
    gram = torch.stack([rows.double() @ rows.double().T for rows in vectors.transpose(0, 1)]).numpy()
    gram /= vectors.shape[2]  # in place, as is what follows: with many nodes these are gigabytes
    diagonal = np.arange(len(rounding))
    gram[:, diagonal, diagonal] -= rounding
    return gram
