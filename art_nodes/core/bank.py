"""The orbit bank: recorded stiffness that a clock can be learned on without a model.

A clock only re-times an orbit, it never bends it. So a set of orbits recorded once
on a fine grid answers every later question about any clock.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .adams import ORDER, adams_weights
from .arrival import added_noise
from .checks import (
    ScheduleFileError,
    check_denoised,
    check_grid,
    check_nodes,
    check_noise,
    check_scale,
    check_sigma_range,
    is_number,
)
from .exact import Denoiser
from .files import as_json, write_whole
from .grids import power_grid
from .half import Rounding
from .orbits import Orbits
from .spectrum import Spectrum, bands_of, spectrum_of
from .stiffness import stiffness_cells

FORMAT = "art-orbit-bank"
# Elements of a sample kept for the secants. The norm of a random subset of n elements is unbiased in its square and off
# by about sqrt((kurtosis - 1)/4n): 0.6 % here where elements are Gaussian, about 1 % for the edges of photographs.
MAX_ELEMENTS = 16384
ALIKE = 1e-3  # relative distance of nodes that count as the same
GRAMS = ("gram", "detail")
PARTS, PREFIX = ("gram", "share", "aim"), "spectrum_"  # of a Spectrum, as files name them


@dataclass(frozen=True, eq=False)
class OrbitBank:
    """Stiffness along B recorded orbits.

    sigmas: (N,) float64, strictly descending, > 0: the nodes; the first is sigma_max.
    stiffness: (B, N) float64, > 0: |Q| on the cell below each node; the last reaches down to 0.
    calls: model calls that the recording took, each over a whole batch.
    sample_calls: the same counted per sample.
    metadata: what else is known, plain values, kept in the file; objectives of a sampler read its "cfg".
    gram: (B, N + 1, N + 1) float64: inner products, per element, of the state at sigma_max and the N predictions
        of each orbit; what samplers are replayed with. None in a bank that knows only stiffness.
    detail: (B, N + 1, N + 1) float64: the same of pictures whose fine structure counts for more, see
        `weigh_frequencies`; None where samples are no pictures, or the bank is older.
    elements: how many elements a sample has, 0 if not known.
    share: whether sigma is the share of noise of a rectified flow, x = (1 - sigma) x0 + sigma eps.
    ends: (B, elements) float32: where the orbits end, to try grids on the model itself. Not kept in files.
    spectrum: the predictions' inner products in bands of frequencies; None where `detail` is, and of so many nodes
        that it would take too much memory.
    rounding: (N + 1,) squares of the noise that rounding to half precision leaves in what `gram` is made of, already
        taken off it; None where there is none.
    """

    sigmas: np.ndarray
    stiffness: np.ndarray
    calls: int = 0
    sample_calls: int = 0
    metadata: dict = field(default_factory=dict)
    gram: np.ndarray | None = None
    elements: int = 0
    share: bool = False
    detail: np.ndarray | None = None
    ends: np.ndarray | None = None
    spectrum: Spectrum | None = None
    rounding: np.ndarray | None = None

    def __post_init__(self):
        sigmas, q = self.sigmas, self.stiffness
        if q.ndim != 2 or q.shape[0] < 1 or sigmas.ndim != 1 or q.shape[1] != len(sigmas) or len(sigmas) < 2:
            raise ValueError(
                "a bank needs at least one orbit of at least two nodes, stiffness (orbits, nodes); "
                f"got sigmas {sigmas.shape}, stiffness {q.shape}; record orbits with record_orbits(...)"
            )
        if not (np.isfinite(sigmas).all() and (sigmas > 0).all() and (np.diff(sigmas) < 0).all()):
            raise ValueError("a bank's sigmas must be finite, > 0 and strictly descending; record it afresh")
        if not (np.isfinite(q).all() and (q > 0).all()):
            raise ValueError("a bank's stiffness must be finite and > 0; record it afresh")
        for name, gram in ((name, getattr(self, name)) for name in GRAMS):
            if gram is not None and (gram.shape != (len(q), len(sigmas) + 1, len(sigmas) + 1)
                                     or not np.isfinite(gram).all()):
                raise ValueError(f"a bank's {name} must be finite, (orbits, nodes + 1, nodes + 1); got {gram.shape}; "
                                 "record it afresh")
        wide = len(sigmas) + 1
        if self.rounding is not None and self.rounding.shape != (wide,):
            raise ValueError(f"a bank's rounding must be (nodes + 1,); got {self.rounding.shape}; record it afresh")
        if self.spectrum is not None and self.spectrum.gram.shape != (len(self.spectrum.share), wide, wide):
            raise ValueError("a bank's spectrum must be (bands, nodes + 1, nodes + 1); got "
                             f"{self.spectrum.gram.shape}; record it afresh")

    @property
    def sigma_max(self) -> float:
        """The sigma at which the orbits start; also the horizon T of the clock."""
        return float(self.sigmas[0])

    @property
    def sigma_min(self) -> float:
        """The smallest sigma at which the model was called."""
        return float(self.sigmas[-1])

    @property
    def edges(self) -> np.ndarray:
        """(N + 1,) cell borders in sigma, descending, the last exactly 0."""
        return np.append(self.sigmas, 0.0)

    @property
    def mean_stiffness(self) -> np.ndarray:
        """E|Q| on each cell; (N,)."""
        return self.stiffness.mean(axis=0)

    @classmethod
    def merge(cls, banks: Iterable["OrbitBank"]) -> "OrbitBank":
        """All orbits of several recordings over the same range; other grids are laid onto a common one."""
        banks = list(banks)
        if not banks:
            raise ValueError("an empty list of banks cannot be merged; record at least one bank")
        first = banks[0]
        if any(not np.isclose(b.sigma_max, first.sigma_max, rtol=1e-4) for b in banks):
            ranges = sorted({b.sigma_max for b in banks})
            raise ValueError(f"banks to merge must start at the same sigma; got {ranges}; record them over one range")
        if any(b.share != first.share for b in banks):
            raise ValueError("banks to merge must mean the same by sigma; got a rectified flow's and others; "
                             "record them on one kind of model")
        sigmas = _common_nodes([b.sigmas for b in banks], first.share)
        stiffness = np.concatenate([b._on(sigmas) for b in banks])
        gram, detail = (None if any(getattr(b, name) is None for b in banks) else
                        np.concatenate([b._on_nodes(getattr(b, name), sigmas) for b in banks])
                        for name in GRAMS)
        if gram is not None and any(b.elements != first.elements for b in banks):
            sizes = sorted({b.elements for b in banks})
            raise ValueError(f"banks to merge must be of samples of one size; got {sizes} elements; record them on "
                             "latents of one size")
        # What is foretold of a recording's own error would not hold for orbits of fewer nodes.
        known = all(b.ends is not None and b.sigmas.shape == sigmas.shape for b in banks)
        ends = np.concatenate([b.ends for b in banks]) if known else None
        return cls(sigmas, stiffness, sum(b.calls for b in banks), sum(b.sample_calls for b in banks),
                   cls._merged_metadata(banks), gram, first.elements, first.share, detail, ends,
                   cls._merged_spectrum(banks, sigmas), cls._merged_rounding(banks, sigmas))

    @staticmethod
    def _merged_metadata(banks: list["OrbitBank"]) -> dict:
        """The first one's, with the mean of the cfgs that all were recorded with."""
        cfgs, metadata = [b.metadata.get("cfg") for b in banks], dict(banks[0].metadata)
        if all(map(is_number, cfgs)) and len(set(cfgs)) > 1:
            metadata["cfg"] = float(np.mean(cfgs))
        return metadata

    @staticmethod
    def _merged_spectrum(banks: list["OrbitBank"], sigmas: np.ndarray) -> Spectrum | None:
        """The mean over all orbits, where all are of one shape; it aims at what the first one does."""
        first = banks[0].spectrum
        if any(b.spectrum is None or b.spectrum.shape != first.shape for b in banks):
            return None
        gram = sum(len(b.stiffness) * b._on_nodes(b.spectrum.gram, sigmas) for b in banks)
        return replace(first, gram=gram / sum(len(b.stiffness) for b in banks))

    @staticmethod
    def _merged_rounding(banks: list["OrbitBank"], sigmas: np.ndarray) -> np.ndarray | None:
        """The largest at each node; None if no bank has any."""
        known = [np.interp(-sigmas, -b.sigmas, b.rounding[1:]) for b in banks if b.rounding is not None]
        return np.append(0.0, np.max(known, axis=0)) if known else None

    def aiming_at(self, pictures: torch.Tensor) -> "OrbitBank":
        """The same bank, whose objectives "spectrum:<sampler>" want the power of `pictures` at each frequency.

        pictures: (B, channels, ..., height, width) in the model's units, shaped like the recorded ones; a few dozen.
        Raises ValueError for pictures of another shape, or a bank without spectrum.
        """
        if self.spectrum is None:
            raise ValueError("pictures can be aimed at only with orbits of pictures whose spectrum was recorded; "
                             "record the bank afresh")
        return replace(self, spectrum=self.spectrum.aiming_at(pictures))

    def _on(self, sigmas: np.ndarray) -> np.ndarray:
        """Stiffness read on another set of nodes, cell by cell; (B, len(sigmas))."""
        middle = 0.5 * (sigmas + np.append(sigmas[1:], 0.0))
        cell = np.searchsorted(-self.sigmas, -middle, side="right") - 1
        return self.stiffness[:, np.clip(cell, 0, len(self.sigmas) - 1)]

    def _on_nodes(self, gram: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
        """Inner products of the predictions read at another set of nodes; (B, len(sigmas) + 1, len(sigmas) + 1)."""
        if np.array_equal(sigmas, self.sigmas):
            return gram
        weights = np.concatenate([np.eye(1, len(self.sigmas) + 1), Orbits(self.sigmas).denoised(sigmas)])
        return weights @ gram @ weights.T

    def save(self, path) -> None:
        """Write the bank as safetensors; the file appears whole or not at all."""
        counts = {"calls": self.calls, "sample_calls": self.sample_calls, "metadata": self.metadata,
                  "elements": self.elements, "share": self.share}
        tensors = {"sigmas": np.ascontiguousarray(self.sigmas), "stiffness": np.ascontiguousarray(self.stiffness)}
        tensors |= {name: np.ascontiguousarray(gram) for name in GRAMS if (gram := getattr(self, name)) is not None}
        if self.rounding is not None:
            tensors["rounding"] = self.rounding
        if self.spectrum is not None:
            counts["shape"] = list(self.spectrum.shape)
            tensors |= {PREFIX + name: np.ascontiguousarray(part) for name in PARTS
                        if (part := getattr(self.spectrum, name)) is not None}
        write_whole(path, save(tensors, {"format": FORMAT, "bank": as_json(counts)}))

    @classmethod
    def load(cls, path) -> "OrbitBank":
        """Read a bank; ScheduleFileError names the file if it is not one."""
        try:
            with safe_open(str(path), framework="numpy") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise ScheduleFileError(f"{Path(path).name} is no orbit bank; choose a file made by OrbitBank.save")
                counts = json.loads(header["bank"])
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dict
                grams = {name: held[name] for name in GRAMS if name in held}
                shape, spectrum = counts.pop("shape", None), None
                if shape:
                    parts = {name: held[PREFIX + name] for name in PARTS if PREFIX + name in held}
                    spectrum = Spectrum(shape=tuple(shape), **parts)
                return cls(held["sigmas"], held["stiffness"], **counts, **grams, spectrum=spectrum,
                           rounding=held.get("rounding"))
        except ScheduleFileError:
            raise
        except FileNotFoundError:
            raise ScheduleFileError(f"{path} does not exist; record a bank and save it first") from None
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise ScheduleFileError(f"{Path(path).name} is damaged ({error}); record it afresh") from error


def _common_nodes(grids: list[np.ndarray], share: bool) -> np.ndarray:
    """The first grid, if all are alike; else the nodes of all, of those next to each other one."""
    first = grids[0]
    if all(len(grid) == len(first) and np.allclose(grid, first, rtol=ALIKE) for grid in grids):
        return first
    every = np.unique(np.concatenate(grids))[::-1]
    kept = [0]
    # Near a share of 1 nodes that are far apart hardly differ in sigma.
    noise = every / np.maximum(1 - every, 1e-9) if share else every
    for i in range(1, len(every)):
        if noise[i] < (1 - ALIKE) * noise[kept[-1]]:
            kept.append(i)
    return every[kept]


def recording_grid(sigma_max: float, sigma_min: float, nodes: int) -> np.ndarray:
    """(nodes,) descending sigmas, even in sigma^(1/7): fine where images take shape, yet not crowded at 0."""
    grid = power_grid(nodes, sigma_max, sigma_min)[:-1]
    grid[0], grid[-1] = sigma_max, sigma_min
    return grid


def flow_recording_grid(sigma_max: float, sigma_min: float, nodes: int) -> np.ndarray:
    """(nodes,) descending sigmas in (0, 1] for a rectified flow, where sigma is the share of noise.

    Even in the seventh root of sigma / (1 - sigma), the noise added to the picture in units of the picture: all of
    an image's composition lies between a share of 0.9 and 1.
    """
    grid = recording_grid(*added_noise([sigma_max, sigma_min], True), nodes)
    grid = grid / (1 + grid)
    grid[0], grid[-1] = sigma_max, sigma_min
    return grid


def kept_elements(count: int) -> torch.Tensor:
    """Indices of the elements that are kept of samples of so many: all, or a fixed random subset of a large sample."""
    if count <= MAX_ELEMENTS:
        return torch.arange(count, device="cpu")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0), device="cpu")
    return order[:MAX_ELEMENTS].sort().values


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
    progress: called as progress(calls done, calls in all) after each model call.
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
    kept = kept_elements(noise[0].numel())
    half = Rounding(len(grid), precision, rounding)
    calls = len(grid) + half.calls(len(grid))
    x, recent, start = noise.float(), [], noise.cpu().float()
    bands = bands_of(tuple(noise.shape[1:]), len(grid)) if is_picture(noise) else None
    recorded = _room(len(grid), start.flatten(1)[:, kept])
    weighed = _room(len(grid), weigh_frequencies(start).flatten(1)[:, kept]) if is_picture(noise) else None
    waves = None if bands is None else _room(len(grid), bands.coefficients(start))
    for i, sigma in enumerate(grid):
        batch_sigma = torch.full((len(x),), float(sigma), dtype=torch.float32, device=x.device)
        asked = half.dithered(x)
        # Copies, for a denoiser that changes its input or answers in one buffer again and again.
        denoised = check_denoised(denoiser(asked.clone(), batch_sigma), x, sigma).float().clone()
        seen = denoised.cpu()  # some devices have no FFT, some no bfloat16
        half.look(i, denoiser, asked, batch_sigma, seen)
        recorded[i + 1] = seen.flatten(1)[:, kept]
        if weighed is not None:
            weighed[i + 1] = weigh_frequencies(seen).flatten(1)[:, kept]
        if waves is not None:
            waves[i + 1] = bands.coefficients(seen)
        if progress is not None:
            progress(i + 1 + half.calls(i + 1), calls)
        if i + 1 < len(grid):
            recent = [denoised, *recent[:ORDER - 1]]
            weights = adams_weights(-np.diff(np.log(grid[i - len(recent) + 1:i + 2]))[::-1])
            target = sum(float(weight) * old for weight, old in zip(weights, recent, strict=True))
            ratio = float(grid[i + 1] / sigma)
            x = ratio * x + (1 - ratio) * target
    rounding = half.noise(grid)
    gram, detail, spectrum = _gram(recorded, rounding), None, None
    if weighed is not None:
        gain = frequency_gain(*noise.shape[-2:]).square().mean().item()
        detail, weighed = _gram(weighed, rounding * gain), None
    if waves is not None:
        spectrum, waves = spectrum_of(waves, bands, noise.shape[1:], rounding), None
    return OrbitBank(grid, stiffness_cells(grid, recorded[1:], rounding[1:]), calls, calls * len(noise),
                     {} if cfg is None else {"cfg": float(cfg)}, gram=gram, elements=noise[0].numel(), share=share,
                     detail=detail, ends=denoised.flatten(1).cpu().numpy(), spectrum=spectrum,
                     rounding=rounding if rounding.any() else None)


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
