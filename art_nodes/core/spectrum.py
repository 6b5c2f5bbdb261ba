"""How strong a picture is at each of its frequencies, and what samplers are foretold to make of that.

FID, and the eye, forgive a picture that is another than the fine solution sooner than one that is softer than it.
How much softer is told by the power in bands of frequencies (docs/theory.md, section 7).
"""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
import torch

from .stiffness import as_float64

# Coefficients of a sample that are kept, spread over its bands; the power of a band of n is off by sqrt(2/n).
MAX_COEFFICIENTS = 16384
MAX_BYTES = 64 * 2**20  # of the matrices of all bands
FINE_BANDS, COARSE_BANDS = 8, 8  # one cycle wide each, and from there to the shortest wave
NEGLIGIBLE = 1e-10  # of a band's largest eigenvalue
LEAST_SHARE = 1e-6  # of the mean power, that a band is taken to have at least


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a bank knows of its orbits in each of F bands: channels, and in each rings of frequencies.

    gram: (F, N + 1, N + 1) float64: inner products of the state at sigma_max and the N predictions, the mean over
        orbits, per coefficient of the band.
    share: (F,) of a sample's coefficients that each band holds; sums to 1.
    shape: of one sample, (channels, ..., height, width).
    aim: (F,) power per coefficient that is wanted, None for that of the orbits' own ends.
    """

    gram: np.ndarray
    share: np.ndarray
    shape: tuple[int, ...]
    aim: np.ndarray | None = None

    def aiming_at(self, pictures: torch.Tensor) -> "Spectrum":
        """The same, wanting the mean power of `pictures` (B, *shape), in the model's units.

        Raises ValueError for pictures of another shape, or empty ones.
        """
        if tuple(pictures.shape[1:]) != self.shape or not len(pictures):
            raise ValueError(f"pictures to aim at must have the shape of the recorded ones, {self.shape}; "
                             f"got {tuple(pictures.shape[1:])}; resize or crop them before they are encoded")
        power = bands_of(self.shape).powers(pictures).mean(axis=0)
        if not (np.isfinite(power).all() and power.any()):
            raise ValueError("pictures to aim at must hold something; got an empty or broken latent; encode pictures")
        return dataclasses.replace(self, aim=power)

    def powers(self, weights: np.ndarray) -> np.ndarray:
        """Mean power per coefficient of what rows of weights (E, N + 1) add up to; (E, F)."""
        roots, starts = self._roots
        return np.add.reduceat((weights @ roots) ** 2, starts, axis=1)

    @functools.cached_property
    def _roots(self) -> tuple[np.ndarray, np.ndarray]:
        """Square roots of all bands' matrices side by side (N + 1, R), and where each begins.

        Orbits are smooth: a dozen vectors make up a band, where the whole matrix would take ten times as long.
        """
        roots = [root_of(gram) for gram in self.gram]
        return np.concatenate(roots, axis=1), np.cumsum([0, *(root.shape[1] for root in roots[:-1])])

    def wanted(self, end: np.ndarray) -> np.ndarray:
        """The power (F,) to compare with, > 0; `end` (N + 1,) are the weights of the orbits' ends."""
        own = self.powers(end[None])[0]
        least = LEAST_SHARE * float(self.share @ own) + 1e-30
        return np.maximum(own if self.aim is None else self.aim, least)


def root_of(gram: np.ndarray) -> np.ndarray:
    """A matrix (N, R) of few columns that times its transpose is a Gram matrix (N, N), but for what is negligible.

    Beside a start state at a sigma of thousands, the first row, all of a faint band would be; so that is made smaller.
    """
    scale = np.ones(len(gram))
    scale[0] = max(1.0, np.sqrt(max(gram[0, 0], 0.0) / max(gram.diagonal()[1:].max(), 1e-300)))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    large = np.maximum(np.arange(len(values)) == len(values) - 1, values > NEGLIGIBLE * values[-1])
    return scale[:, None] * vectors[:, large] * np.sqrt(np.maximum(values[large], 0.0))


@functools.lru_cache(maxsize=4)
def bands_of(shape: tuple[int, ...], nodes: int = 0) -> "Bands | None":
    """The bands of samples of a shape; None where their matrices at so many nodes would take too much memory."""
    bands = Bands(shape)
    return bands if len(bands.parts) * (nodes + 1) ** 2 * 8 <= MAX_BYTES else None


class Bands:
    """The rings of frequencies of samples of a shape (channels, ..., height, width), and which coefficients are kept.

    Rings are one cycle along the short side wide for the first `FINE_BANDS`, then ever wider; each channel has its own.
    """

    def __init__(self, shape: tuple[int, ...]):
        channels, (height, width) = shape[0], shape[-2:]
        side = min(height, width)
        rows, columns = (torch.fft.fftfreq(count, device="cpu") * side for count in (height, width))
        edges = torch.unique(torch.cat([torch.arange(FINE_BANDS + 1.0, device="cpu"), torch.logspace(
            np.log10(FINE_BANDS), np.log10(max(FINE_BANDS, side // 2)), COARSE_BANDS, device="cpu").round()]))
        edges = edges[edges <= max(side // 2, 1)]
        radius = (rows[:, None] ** 2 + columns**2).sqrt().round()
        ring = torch.bucketize(radius.clamp(max=edges[-1].item()), edges)
        middle = int(np.prod(shape[1:-2], dtype=int))
        first = torch.arange(channels, device="cpu")[:, None, None, None] * len(edges)
        number = (first + ring.expand(1, middle, height, width)).flatten()
        counts = number.bincount(minlength=channels * len(edges))
        order = torch.randperm(len(number), generator=torch.Generator().manual_seed(0), device="cpu")
        # One stable sort keeps that order within each band; a video latent has millions of coefficients.
        by_band = order[number[order].argsort(stable=True)]
        quota = _quota(counts)
        held = [part[:quota] for part in by_band.split(counts[counts > 0].tolist())]
        self.kept = torch.cat(held)
        self.share = (counts[counts > 0] / len(number)).double().numpy()
        starts = np.cumsum([0, *map(len, held)])
        self.parts = [slice(start, end) for start, end in zip(starts[:-1], starts[1:], strict=True)]  # of `kept`

    def coefficients(self, pictures: torch.Tensor) -> torch.Tensor:
        """The kept ones of pictures (B, *shape), of their Hartley transform: real, and of the same norm; (B, kept).

        Pictures are to be on the CPU: some devices have no FFT.
        """
        waves = torch.fft.fft2(pictures, norm="ortho")
        return (waves.real - waves.imag).flatten(1)[:, self.kept]

    def powers(self, pictures: torch.Tensor) -> np.ndarray:
        """Power per coefficient of each of some pictures (B, *shape) in each band; (B, F) float64."""
        squares = as_float64(self.coefficients(pictures.cpu().float())).square()
        return torch.stack([squares[:, part].mean(dim=1) for part in self.parts], dim=1).numpy()


def _quota(counts: torch.Tensor) -> int:
    """How many coefficients a band may keep, so that all bands together keep at most MAX_COEFFICIENTS."""
    low, high = 1, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if counts.clamp(max=middle).sum() <= MAX_COEFFICIENTS else (low, middle - 1)
    return low


def spectrum_of(rows: torch.Tensor, bands: Bands, shape, rounding: np.ndarray) -> Spectrum:
    """Of coefficients of the start state and of the N predictions; rows: (N + 1, B, kept).

    rounding: (N + 1,) squares of half-precision rounding noise, which is white and is taken off.
    """
    grams = []
    for part in bands.parts:
        vectors = rows[:, :, part].flatten(1).double()
        grams.append((vectors @ vectors.T).numpy() / vectors.shape[1] - np.diag(rounding))
    return Spectrum(np.stack(grams), bands.share, tuple(shape))


def is_picture(samples: torch.Tensor) -> bool:
    """Whether samples (B, ...) have a height and a width: their last two axes, after channels."""
    return samples.ndim >= 4


def frequency_gain(height: int, width: int) -> torch.Tensor:
    """sqrt(1 + f^2), f in cycles along the short side, for every frequency of a picture; (height, width)."""
    side = min(height, width)
    rows, columns = (torch.fft.fftfreq(count, device="cpu") * side for count in (height, width))
    return (1 + rows[:, None] ** 2 + columns**2).sqrt()


def weigh_frequencies(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (..., H, W) with each frequency times `frequency_gain`: their squares sum to those of value and slope.

    Nature's pictures have a power that falls like f^-2, so in these every frequency is about as strong.
    """
    height, width = pictures.shape[-2:]
    gain = frequency_gain(height, width)[:, :width // 2 + 1].to(pictures)
    return torch.fft.irfft2(torch.fft.rfft2(pictures) * gain, s=(height, width))
